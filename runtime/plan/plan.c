/* plan.c: the sizing function. All products but that of all sequences are of values limited by model/config.h and
 * options.c, so that 64 bits hold them; KV page counts are clamped before they are multiplied.
 */
#include "plan/plan.h"

#include "base/size.h"

#include <stdio.h>
#include <string.h>

/* Host-memory backends share RAM with everything else: unless told otherwise, KV takes no more than this. */
#define HOST_KV_BYTES_MAX (2ull << 30)

enum { RANKS_ADVISED_MAX = 16 };
enum { DEFAULT_SEQS_HOST = 32, DEFAULT_SEQS = 256, DEFAULT_BATCHED_TOKENS = 512, DEFAULT_BATCHED_TOKENS_DEVICE = 2048 };
enum { BUCKET_ROWS_MAX = 512 };

char *plan_format_bytes(uint64_t bytes, char text[16])
{
    if (bytes >= 1ull << 30)
        snprintf(text, 16, "%.2f GiB", (double)bytes / (double)(1ull << 30));
    else
        snprintf(text, 16, "%.2f MiB", (double)bytes / (double)(1ull << 20));
    return text;
}

static bool is_host(const tn_devinfo *device)
{
    return strcmp(device->mem_domain, "host") == 0;
}

static uint32_t integer_or(const settings *settings, const char *key, uint32_t automatic)
{
    if (settings_is_auto(settings, "engine", key))
        return automatic;
    return (uint32_t)settings_integer(settings, "engine", key);
}

static uint32_t kv_dtype_of(const settings *settings)
{
    const char *name = settings_string(settings, "engine", "kv_cache_dtype");
    if (strcmp(name, "float16") == 0)
        return TN_F16;
    if (strcmp(name, "bfloat16") == 0)
        return TN_BF16;
    if (strcmp(name, "float32") == 0)
        return TN_F32;
    return 0; /* auto: the backend's choice */
}

/* Batches in which every sequence decodes one token: by eights, so that a batch is padded by few rows, and up to
 * BUCKET_ROWS_MAX, beyond which a step is long enough to hide its launches. As vLLM chooses its CUDA graphs. */
static void choose_buckets(memory_plan *plan)
{
    const uint32_t seqs = plan->max_num_seqs, most = seqs < BUCKET_ROWS_MAX ? seqs : BUCKET_ROWS_MAX;
    uint32_t count = 0;

    for (uint32_t rows = 1; rows < most; rows += rows < 4 ? rows : rows == 4 ? 4 : rows < 256 ? 8 : 16)
        plan->bucket[count++] = rows;
    plan->bucket[count++] = most;
    plan->bucket_count = count;
}

static tn_status read_limits(const plan_input *input, memory_plan *plan, tn_error *err)
{
    bool host = is_host(input->device);
    const settings *s = input->settings;
    const plan_wishes *wishes = &input->wishes;

    plan->max_model_len = settings_is_auto(s, "model", "max_model_len")
                              ? input->config->context
                              : (uint32_t)settings_integer(s, "model", "max_model_len");
    if (wishes->max_model_len)
        plan->max_model_len = wishes->max_model_len;
    if (plan->max_model_len > input->config->context)
        return tn_fail(err, TN_E_ARGUMENT, "model.max_model_len=%u is more than the %u tokens this model was made for",
                       plan->max_model_len, input->config->context);
    plan->max_num_seqs = wishes->max_num_seqs ? wishes->max_num_seqs
                                              : integer_or(s, "max_num_seqs", host ? DEFAULT_SEQS_HOST : DEFAULT_SEQS);
    plan->max_num_batched_tokens =
        integer_or(s, "max_num_batched_tokens", host ? DEFAULT_BATCHED_TOKENS : DEFAULT_BATCHED_TOKENS_DEVICE);
    if (input->context_max && plan->max_model_len > input->context_max)
        plan->max_model_len = input->context_max;
    if (input->seqs_max && plan->max_num_seqs > input->seqs_max)
        plan->max_num_seqs = input->seqs_max;
    if (plan->max_num_batched_tokens < plan->max_num_seqs)
        plan->max_num_batched_tokens = plan->max_num_seqs;
    plan->max_outputs = plan->max_num_seqs > input->outputs_min ? plan->max_num_seqs : input->outputs_min;
    plan->max_waiting = (uint32_t)settings_integer(s, "engine", "max_waiting");
    choose_buckets(plan);
    plan->kv_dtype = wishes->kv_dtype ? wishes->kv_dtype : kv_dtype_of(s);
    plan->gpu_memory_utilization = wishes->gpu_memory_utilization > 0
                                       ? wishes->gpu_memory_utilization
                                       : settings_number(s, "engine", "gpu_memory_utilization");
    plan->enable_prefix_caching = settings_bool(s, "engine", "enable_prefix_caching");
    /* auto is on everywhere: nothing is known to cost more than a tenth by it (plugins/cuda_tp/README.md). */
    plan->batch_invariant = strcmp(settings_string(s, "engine", "batch_invariant"), "off") != 0;
    return TN_OK;
}

tn_compile plan_compile(const plan_input *input, const memory_plan *plan)
{
    return (tn_compile){
        .struct_size = sizeof(tn_compile),
        .graph = input->graph,
        .api = input->graph_api,
        .weight_enc = input->weight_enc,
        .weight_enc_stride = sizeof(tn_enc),
        .batch_invariant = plan->batch_invariant,
        .max_tokens = plan->max_num_batched_tokens,
        .max_seqs = plan->max_num_seqs,
        .max_outputs = plan->max_outputs,
        .max_model_len = plan->max_model_len,
        .kv_dtype = plan->kv_dtype,
        .bucket_count = plan->bucket_count,
        .bucket = plan->bucket,
    };
}

/* The engine's storage depends on page counts only through their bookkeeping. */
static uint64_t engine_bytes(memory_plan *plan, uint32_t vocab)
{
    engine_config config = {
        .max_model_len = plan->max_model_len,
        .max_num_seqs = plan->max_num_seqs,
        .max_num_batched_tokens = plan->max_num_batched_tokens,
        .max_outputs = plan->max_outputs,
        .max_waiting = plan->max_waiting,
        .enable_prefix_caching = plan->enable_prefix_caching,
        .kv_group_count = plan->kv_group_count,
        .page_tokens = plan->page_tokens,
        .kv_pages = plan->kv_pages,
    };
    return engine_host_bytes(&config, vocab, &plan->requests);
}

static tn_status ask_backend(const plan_input *input, memory_plan *plan, tn_error *err)
{
    tn_compile compile = plan_compile(input, plan);
    tn_memplan parts = {.struct_size = sizeof parts,
                        .group_count = plan->kv_group_count,
                        .page_tokens = plan->page_tokens,
                        .page_bytes = plan->page_bytes};
    tn_status status = input->backend->plan(input->device, plan->world, &compile, &parts, err);
    if (status != TN_OK)
        return status;
    plan->weights = parts.weights;
    plan->load_peak = parts.load_peak + input->staging_bytes;
    plan->activations = parts.activations;
    plan->logits = parts.logits;
    plan->comms = parts.comms;
    plan->reserve = parts.reserve;
    return TN_OK;
}

/* Tokens that a group keeps of one sequence of `length` at its largest. */
static uint64_t tokens_kept(const plan_input *input, const memory_plan *plan, uint32_t group, uint32_t length)
{
    tn_kv_group info = {.struct_size = sizeof info};

    if (input->graph_api->kv_group(input->graph, group, &info) == TN_OK && info.kind == TN_KV_WINDOW &&
        (uint64_t)info.window + plan->max_num_batched_tokens < length)
        return (uint64_t)info.window + plan->max_num_batched_tokens;
    return length;
}

static uint64_t pages_per_sequence(const plan_input *input, const memory_plan *plan, uint32_t group, uint32_t length)
{
    uint64_t tokens = tokens_kept(input, plan, group, length);
    return (tokens + plan->page_tokens[group] - 1) / plan->page_tokens[group] + 1;
}

static uint64_t kv_bytes_of_sequence(const plan_input *input, const memory_plan *plan, uint32_t length)
{
    uint64_t bytes = 0;
    for (uint32_t g = 0; g < plan->kv_group_count; g++)
        bytes += pages_per_sequence(input, plan, g, length) * plan->page_bytes[g];
    return bytes;
}

static uint64_t kv_bytes_of_token(const memory_plan *plan)
{
    uint64_t bytes = 0;
    for (uint32_t g = 0; g < plan->kv_group_count; g++)
        bytes += plan->page_bytes[g] / plan->page_tokens[g];
    return bytes;
}

/* KV bytes the settings ask for, given what is left of the budget. */
static uint64_t kv_goal(const plan_input *input, const memory_plan *plan, uint64_t left)
{
    uint64_t full = kv_bytes_of_sequence(input, plan, plan->max_model_len), goal;

    if (!size_mul(full, plan->max_num_seqs, &goal))
        goal = UINT64_MAX;
    if (!settings_is_auto(input->settings, "engine", "kv_cache_memory_bytes"))
        return (uint64_t)settings_integer(input->settings, "engine", "kv_cache_memory_bytes");
    if (is_host(input->device) && goal > HOST_KV_BYTES_MAX)
        goal = full > HOST_KV_BYTES_MAX ? full : HOST_KV_BYTES_MAX;
    return goal < left ? goal : left;
}

/* Of a window, the last tokens of a context stand for all of it. */
static uint64_t context_tokens(const memory_plan *plan, uint32_t group)
{
    double tokens = (double)plan->kv_pages[group] * plan->page_tokens[group];
    return (uint64_t)(tokens * plan->max_model_len / plan->kept_tokens[group]);
}

/* Shares kv bytes over the groups in proportion to what one full sequence needs. */
static void share_pages(const plan_input *input, memory_plan *plan, uint64_t bytes)
{
    double fraction = (double)bytes / (double)kv_bytes_of_sequence(input, plan, plan->max_model_len);
    plan->kv = 0;
    plan->kv_tokens = plan->full_sequences = UINT64_MAX;
    for (uint32_t g = 0; g < plan->kv_group_count; g++) {
        uint64_t one = pages_per_sequence(input, plan, g, plan->max_model_len);
        uint64_t pages = (uint64_t)((double)one * fraction);
        pages = pages > UINT32_MAX - 1 ? UINT32_MAX - 1 : pages;
        plan->kv_pages[g] = pages;
        plan->kv += pages * plan->page_bytes[g];
        plan->kept_tokens[g] = (uint32_t)tokens_kept(input, plan, g, plan->max_model_len);
        uint64_t tokens = context_tokens(plan, g);
        if (tokens < plan->kv_tokens)
            plan->kv_tokens = tokens;
        if (pages / one < plan->full_sequences)
            plan->full_sequences = pages / one;
    }
}

uint64_t plan_sequences(const memory_plan *plan, uint64_t length)
{
    uint64_t fewest = UINT64_MAX;

    for (uint32_t g = 0; g < plan->kv_group_count; g++) {
        uint64_t kept = length < plan->kept_tokens[g] ? length : plan->kept_tokens[g];
        uint64_t sequences = plan->kv_pages[g] / ((kept + plan->page_tokens[g] - 1) / plan->page_tokens[g]);
        fewest = sequences < fewest ? sequences : fewest;
    }
    return fewest;
}

uint64_t plan_resident_bytes(const memory_plan *plan)
{
    return plan->weights + plan->activations + plan->logits + plan->comms + plan->engine + plan->tokenizer + plan->kv;
}

uint64_t plan_peak_bytes(const memory_plan *plan)
{
    return plan_resident_bytes(plan) + plan->load_peak;
}

/* The host's parts count where the device is the host. */
uint64_t plan_fixed_bytes(const memory_plan *plan)
{
    uint64_t host = is_host(&plan->device) ? plan->engine + plan->tokenizer + plan->requests : 0;
    return plan->weights + plan->activations + plan->logits + plan->comms + host + plan->reserve;
}

uint64_t plan_device_bytes(const memory_plan *plan)
{
    return plan_fixed_bytes(plan) + plan->kv + plan->load_peak;
}

bool plan_is_on_host(const memory_plan *plan)
{
    return is_host(&plan->device);
}

/* While weights are loaded, they pass through RAM: load_peak bounds what is staged of them. */
uint64_t plan_host_bytes(const memory_plan *plan, uint32_t ranks)
{
    if (is_host(&plan->device))
        return plan_device_bytes(plan) * ranks;
    return plan->engine + plan->tokenizer + plan->requests + plan->load_peak * ranks;
}

/* The longest context, in whole KiB-ish steps of 256 tokens, whose one sequence fits into `left`. */
static uint32_t longest_context(const plan_input *input, const memory_plan *plan, uint64_t left)
{
    uint32_t low = 0, high = plan->max_model_len / 256;
    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;
        if (kv_bytes_of_sequence(input, plan, middle * 256) <= left)
            low = middle;
        else
            high = middle - 1;
    }
    return low * 256;
}

/* The smallest number of ranks, from twice as many as now, over which the model would fit as it is; 0: none. */
static uint32_t ranks_that_fit(const plan_input *input, const memory_plan *plan)
{
    for (uint32_t world = 2 * plan->world; world <= RANKS_ADVISED_MAX; world *= 2) {
        memory_plan wider = *plan;
        wider.world = world;
        if (ask_backend(input, &wider, NULL) != TN_OK)
            continue;
        if (plan_fixed_bytes(&wider) + kv_bytes_of_sequence(input, &wider, wider.max_model_len) <= wider.budget)
            return world;
    }
    return 0;
}

static tn_status refuse(const plan_input *input, const memory_plan *plan, uint64_t left, tn_error *err)
{
    if (!err)
        return TN_E_MEMORY;
    uint32_t ranks = ranks_that_fit(input, plan);
    char fixed[16], budget[16], total[16], sequence[16], kv[16], advice[160];
    uint64_t one = kv_bytes_of_sequence(input, plan, plan->max_model_len);
    uint32_t context = longest_context(input, plan, left);
    double needed = (double)(plan_fixed_bytes(plan) + one) / (double)input->device->mem_total;
    bool asked = !settings_is_auto(input->settings, "engine", "kv_cache_memory_bytes");
    uint64_t goal = kv_goal(input, plan, left);

    if (asked && one <= left && goal > left)
        snprintf(advice, sizeof advice,
                 "engine.kv_cache_memory_bytes asks for %s: set it to auto, which takes what is left",
                 plan_format_bytes(goal, kv));
    else if (asked && one <= left)
        snprintf(advice, sizeof advice, "set engine.kv_cache_memory_bytes to %llu or more", (unsigned long long)one);
    else if (context >= 256 && needed < 0.98)
        snprintf(advice, sizeof advice, "set model.max_model_len=%u, or engine.gpu_memory_utilization=%.2f", context,
                 needed + 0.01);
    else if (context >= 256)
        snprintf(advice, sizeof advice, "set model.max_model_len=%u", context);
    else if (needed < 0.98)
        snprintf(advice, sizeof advice, "set engine.gpu_memory_utilization=%.2f", needed + 0.01);
    else if (ranks)
        snprintf(advice, sizeof advice, "set backend.tensor_parallel_size=%u", ranks);
    else
        snprintf(advice, sizeof advice,
                 "no setting makes it fit here: choose a smaller or more strongly quantized checkpoint");
    return tn_fail(err, TN_E_MEMORY,
                   "the model does not fit: weights and buffers take %s and one sequence of %u tokens %s of KV cache, "
                   "but the budget is %s (%.0f %% of %s on %s); %s",
                   plan_format_bytes(plan_fixed_bytes(plan), fixed), plan->max_model_len,
                   plan_format_bytes(one, sequence), plan_format_bytes(plan->budget, budget),
                   100 * plan->gpu_memory_utilization, plan_format_bytes(input->device->mem_total, total),
                   input->device->name, advice);
}

static uint64_t weight_elements(const plan_input *input, uint32_t value)
{
    tn_value weight = {.struct_size = sizeof weight};
    if (input->graph_api->value(input->graph, value, &weight) != TN_OK)
        return 0;
    return (uint64_t)weight.dim[0] * (uint64_t)weight.dim[1];
}

/* Elements of all matrices that a token row is multiplied with: of experts, the chosen ones. */
static uint64_t count_multiply_adds(const plan_input *input)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < input->graph_api->node_count; i++) {
        tn_node node = {.struct_size = sizeof node};
        if (input->graph_api->node(input->graph, i, &node) != TN_OK)
            continue;
        if (node.op == TN_OP_LINEAR || node.op == TN_OP_LOGITS || node.op == TN_OP_MOE)
            sum += weight_elements(input, node.in[1]);
        for (uint32_t j = TN_MOE_IN_GATE; node.op == TN_OP_MOE && j <= TN_MOE_IN_DOWN; j++)
            sum += weight_elements(input, node.in[j]) / (uint64_t)node.attr[TN_MOE_A_EXPERTS] *
                   (uint64_t)node.attr[TN_MOE_A_CHOSEN];
    }
    return sum;
}

tn_status plan_make(const plan_input *input, memory_plan *ret_plan, tn_error *err)
{
    memory_plan plan = {.device = *input->device,
                        .world = input->wishes.world
                                     ? input->wishes.world
                                     : (uint32_t)settings_integer(input->settings, "backend", "tensor_parallel_size"),
                        .kv_group_count = input->graph_api->kv_group_count,
                        .tokenizer = input->tokenizer_bytes,
                        .multiply_adds = count_multiply_adds(input)};

    TN_ASSERT(plan.kv_group_count >= 1 && plan.kv_group_count <= PLAN_KV_GROUPS_MAX);
    tn_status status = read_limits(input, &plan, err);
    if (status == TN_OK)
        status = ask_backend(input, &plan, err);
    if (status != TN_OK)
        return status;
    plan.budget = (uint64_t)((double)input->device->mem_total * plan.gpu_memory_utilization);
    plan.kv_sequence_bytes = kv_bytes_of_sequence(input, &plan, plan.max_model_len);
    plan.kv_token_bytes = kv_bytes_of_token(&plan);

    /* Bookkeeping for pages is part of the engine's bytes: size it for the pages that would fit without it, which is
     * never fewer than the pages that fit with it. */
    for (int pass = 0; pass < 2; pass++) {
        plan.engine = engine_bytes(&plan, input->graph_api->vocab_size);
        uint64_t fixed = plan_fixed_bytes(&plan);
        uint64_t left = plan.budget > fixed ? plan.budget - fixed : 0;
        uint64_t goal = kv_goal(input, &plan, left);
        if (goal > left || goal < kv_bytes_of_sequence(input, &plan, plan.max_model_len)) {
            *ret_plan = plan;
            return refuse(input, &plan, left, err);
        }
        share_pages(input, &plan, goal);
    }
    *ret_plan = plan;
    return TN_OK;
}
