/* print.c: a plan as a table for people and as one JSON object for programs. */
#include "plan/plan.h"

#include <jansson.h>

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
            (unsigned long long)plan->kv_tokens, (unsigned long long)plan->kv_token_bytes,
            (double)plan->kv_tokens / plan->max_model_len, plan->max_model_len, plan->max_num_seqs);
}

void plan_print_json(const memory_plan *plan, const model_config *config, FILE *out)
{
    line lines[LINES];
    json_t *root = json_pack("{s:s, s:s}", "architecture", config->architecture, "device", plan->device.name);
    json_t *bytes = json_object();

    list_lines(plan, lines);
    for (int i = 0; i < LINES; i++)
        json_object_set_new(bytes, lines[i].key, json_integer((json_int_t)lines[i].bytes));
    json_object_set_new(root, "bytes", bytes);
    json_object_set_new(root, "resident", json_integer((json_int_t)plan_resident_bytes(plan)));
    json_object_set_new(root, "peak", json_integer((json_int_t)plan_peak_bytes(plan)));
    json_object_set_new(root, "budget", json_integer((json_int_t)plan->budget));
    json_object_set_new(root, "device_total", json_integer((json_int_t)plan->device.mem_total));
    json_object_set_new(root, "kv_tokens", json_integer((json_int_t)plan->kv_tokens));
    json_object_set_new(root, "kv_token_bytes", json_integer((json_int_t)plan->kv_token_bytes));
    json_object_set_new(root, "multiply_adds_per_token", json_integer((json_int_t)plan->multiply_adds));
    json_object_set_new(root, "tensor_parallel_size", json_integer(plan->world));
    json_object_set_new(root, "max_model_len", json_integer(plan->max_model_len));
    json_object_set_new(root, "max_num_seqs", json_integer(plan->max_num_seqs));
    json_object_set_new(root, "max_num_batched_tokens", json_integer(plan->max_num_batched_tokens));
    json_dumpf(root, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    fputc('\n', out);
    json_decref(root);
}
