/* print.c: a plan and its place as text for people and as one JSON object for programs. */
#include "plan/print.h"

typedef struct line {
    const char *key, *label;
    uint64_t bytes;
} line;

enum { LINES = 10 };

static void list_lines(const memory_plan *plan, line lines[LINES])
{
    const line all[LINES] = {
        {"weights", "weights", plan->weights},
        {"kv", "KV cache", plan->kv},
        {"activations", "activations", plan->activations},
        {"logits", "logits and sampler", plan->logits},
        {"comms", "communication", plan->comms},
        {"engine", "engine (host)", plan->engine},
        {"tokenizer", "tokenizer (host)", plan->tokenizer},
        {"load_peak", "while loading, then freed", plan->load_peak},
        {"requests", "requests (host), at most", plan->requests},
        {"reserve", "reserve, not ours", plan->reserve},
    };
    for (int i = 0; i < LINES; i++)
        lines[i] = all[i];
}

void plan_print(const memory_plan *plan, const model_config *config, FILE *out)
{
    char text[16];
    line lines[LINES];

    list_lines(plan, lines);
    fprintf(out, "%s, %u layers, width %u, on %s", config->architecture, config->layers, config->model_width,
            plan->device.name);
    if (plan->world > 1)
        fprintf(out, ", each of %u", plan->world);
    fputc('\n', out);
    for (int i = 0; i < LINES; i++)
        fprintf(out, "  %-26s %12s\n", lines[i].label, plan_format_bytes(lines[i].bytes, text));
    fprintf(out, "  %-26s %12s\n", "resident", plan_format_bytes(plan_resident_bytes(plan), text));
    fprintf(out, "  %-26s %12s\n", "peak", plan_format_bytes(plan_peak_bytes(plan), text));
    fprintf(out, "  %-26s %12s", "budget", plan_format_bytes(plan->budget, text));
    fprintf(out, " of %s\n", plan_format_bytes(plan->device.mem_total, text));
    fprintf(out, "  KV cache: %llu tokens, %llu bytes each; %.1f sequences of %u tokens at once (limit %u)\n",
            (unsigned long long)plan->kv_tokens,
            (unsigned long long)(plan->kv_tokens ? plan->kv / plan->kv_tokens : plan->kv_token_bytes),
            (double)plan->kv_tokens / plan->max_model_len, plan->max_model_len, plan->max_num_seqs);
}

/* ---- for people ---- */

static void print_most(const placement *p, const model_config *config, FILE *out)
{
    if (p->largest_context == 0) {
        fprintf(out, "  largest context: none, not even 256 tokens\n");
        return;
    }
    fprintf(out, "  largest context: %u tokens%s\n", p->largest_context,
            p->largest_context == config->context ? ", all that the model was made for" : "");
    if (p->largest_concurrency > 0)
        fprintf(out, "  largest concurrency: %u %s of %u tokens\n", p->largest_concurrency,
                p->largest_concurrency == 1 ? "sequence" : "sequences", p->plan.max_model_len);
}

static void print_place(const placement *p, const pool *pool, FILE *out)
{
    if (pool->name[0]) {
        fprintf(out, "pool %s: %u x %s", pool->name, pool->count, pool->device.name);
        if (pool->nodes > 1)
            fprintf(out, " in each of %u nodes", pool->nodes);
        if (pool->count > 1)
            fprintf(out, ", %s", device_link_name(pool->link));
        fputc('\n', out);
    }
    if (p->plan.world > 0 && p->plan.world * p->nodes > 1) {
        fprintf(out, "strategy: %s, %u ranks", placement_strategy_name(p->strategy), p->plan.world);
        fprintf(out, p->nodes > 1 ? " on %u nodes\n" : "\n", p->nodes);
    } else if (p->plan.world > 0) {
        fprintf(out, "strategy: %s\n", placement_strategy_name(p->strategy));
    }
}

void placement_print(const placement *p, const pool *pool, const model_config *config, FILE *out)
{
    char launch[PLACEMENT_LAUNCH_MAX];

    if (p->plan.world > 0)
        plan_print(&p->plan, config, out);
    print_place(p, pool, out);
    fprintf(out, "%s\n",
            p->fits        ? "it fits"
            : p->fix_count ? "it does not fit; each of these makes it fit:"
                           : "it does not fit");
    for (uint32_t i = 0; i < p->fix_count; i++)
        fprintf(out, "  %-28s  %s\n", p->fixes[i].flags, p->fixes[i].effect);
    if (p->plan.world > 0)
        print_most(p, config, out);
    if (placement_launch(p, pool, launch))
        fprintf(out,
                "launch: %s\n  every process needs the model, and the group's secret (group.secret_file); `tenon group` "
                "in place of `tenon serve` tries whether they meet\n",
                launch);
    for (uint32_t i = 0; i < p->warning_count; i++)
        fprintf(out, "warning: %s\n", p->warnings[i]);
}

/* ---- for programs ---- */

static void add_plan(json_t *root, const memory_plan *plan)
{
    line lines[LINES];
    json_t *bytes = json_object();

    list_lines(plan, lines);
    for (int i = 0; i < LINES; i++)
        json_object_set_new(bytes, lines[i].key, json_integer((json_int_t)lines[i].bytes));
    json_object_set_new(root, "bytes", bytes);
    json_object_set_new(root, "resident", json_integer((json_int_t)plan_resident_bytes(plan)));
    json_object_set_new(root, "peak", json_integer((json_int_t)plan_peak_bytes(plan)));
    json_object_set_new(root, "needed", json_integer((json_int_t)plan_device_bytes(plan)));
    json_object_set_new(root, "budget", json_integer((json_int_t)plan->budget));
    json_object_set_new(root, "device_total", json_integer((json_int_t)plan->device.mem_total));
    json_object_set_new(root, "kv_tokens", json_integer((json_int_t)plan->kv_tokens));
    json_object_set_new(root, "kv_token_bytes", json_integer((json_int_t)plan->kv_token_bytes));
    json_object_set_new(root, "kv_sequence_bytes", json_integer((json_int_t)plan->kv_sequence_bytes));
    json_object_set_new(root, "multiply_adds_per_token", json_integer((json_int_t)plan->multiply_adds));
    json_object_set_new(root, "tensor_parallel_size", json_integer(plan->world));
    json_object_set_new(root, "max_model_len", json_integer(plan->max_model_len));
    json_object_set_new(root, "max_num_seqs", json_integer(plan->max_num_seqs));
    json_object_set_new(root, "max_num_batched_tokens", json_integer(plan->max_num_batched_tokens));
}

static json_t *pool_of(const pool *pool)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:s}", "name", pool->name, "device", pool->device.name, "count",
                     (int)pool->count, "nodes", (int)pool->nodes, "link", device_link_name(pool->link));
}

static uint32_t ranks_of_node(const placement *p)
{
    return p->nodes > 1 ? (p->plan.world + p->nodes - 1) / p->nodes : p->plan.world;
}

json_t *placement_json(const placement *p, const pool *pool, const model_config *config)
{
    json_t *root = json_pack("{s:s, s:s, s:b}", "architecture", config->architecture, "device", pool->device.name,
                             "fits", p->fits);
    json_t *fixes = json_array(), *warnings = json_array();
    char launch[PLACEMENT_LAUNCH_MAX];

    if (!p->fits)
        json_object_set_new(root, "reason", json_string(p->reason.msg));
    if (pool->name[0])
        json_object_set_new(root, "pool", pool_of(pool));
    if (p->plan.world > 0) {
        add_plan(root, &p->plan);
        json_object_set_new(root, "strategy", json_string(placement_strategy_name(p->strategy)));
        json_object_set_new(root, "nodes", json_integer(p->nodes));
        json_object_set_new(root, "on_host", json_boolean(plan_is_on_host(&p->plan)));
        json_object_set_new(root, "host", json_integer((json_int_t)plan_host_bytes(&p->plan, ranks_of_node(p))));
        json_object_set_new(root, "largest_context", json_integer(p->largest_context));
        json_object_set_new(root, "largest_concurrency", json_integer(p->largest_concurrency));
    }
    if (placement_launch(p, pool, launch))
        json_object_set_new(root, "launch", json_string(launch));
    for (uint32_t i = 0; i < p->fix_count; i++)
        json_array_append_new(fixes, json_pack("{s:s, s:s}", "flags", p->fixes[i].flags, "effect", p->fixes[i].effect));
    for (uint32_t i = 0; i < p->warning_count; i++)
        json_array_append_new(warnings, json_string(p->warnings[i]));
    json_object_set_new(root, "fixes", fixes);
    json_object_set_new(root, "warnings", warnings);
    return root;
}
