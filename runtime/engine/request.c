/* request.c: the checks of submit, one per field with a message that names it, and the copy.
 *
 * Whatever is wrong with a request is found here, on the client's thread; the loop sees valid requests only.
 */
#include "engine/request.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

enum { CACHE_SALT_BYTES_MAX = 1024 };
enum {
    REQUEST_FLAGS = TN_REQ_SEED | TN_REQ_IGNORE_EOS | TN_REQ_KEEP_STOP | TN_REQ_SHOW_SPECIAL | TN_REQ_LOGPROBS |
                    TN_REQ_PROMPT_LOGPROBS | TN_REQ_NO_CACHE
};

static tn_status check_tokens(const char *field, const int32_t *token, uint64_t count, uint32_t vocab, tn_error *err)
{
    if (count > 0 && !token)
        return tn_fail(err, TN_E_ARGUMENT, "%s is NULL but its count is %llu", field, (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++)
        if (token[i] < 0 || (uint32_t)token[i] >= vocab)
            return tn_fail(err, TN_E_ARGUMENT, "%s[%llu] is %d, outside the vocabulary of %u tokens", field,
                           (unsigned long long)i, token[i], vocab);
    return TN_OK;
}

static tn_status check_count(const char *field, uint64_t count, uint64_t max, tn_error *err)
{
    if (count > max)
        return tn_fail(err, TN_E_ARGUMENT, "%s is %llu; this engine takes at most %llu", field,
                       (unsigned long long)count, (unsigned long long)max);
    return TN_OK;
}

/* Lengths of prompt and output against the window and the KV pool. */
static tn_status check_length(const request_limits *limits, const tn_request *asked, tn_error *err)
{
    const engine_config *config = limits->config;
    uint32_t window = config->max_model_len;

    if (asked->token_count == 0 || !asked->token)
        return tn_fail(err, TN_E_ARGUMENT, "token: the prompt is empty; it needs at least one token");
    if (asked->max_new == 0 && !(asked->flags & TN_REQ_PROMPT_LOGPROBS))
        return tn_fail(err, TN_E_ARGUMENT, "max_new is 0; only a request for prompt log-probs may generate nothing");
    if (asked->token_count > window - (asked->max_new > 0))
        return tn_fail(err, TN_E_ARGUMENT,
                       "token_count: the prompt has %llu tokens, but max_model_len is %u, generated tokens included",
                       (unsigned long long)asked->token_count, window);
    if (asked->min_new > asked->max_new)
        return tn_fail(err, TN_E_ARGUMENT, "min_new is %u, more than max_new, which is %u", asked->min_new,
                       asked->max_new);

    uint32_t prompt = (uint32_t)asked->token_count;
    uint32_t output = asked->max_new < window - prompt ? asked->max_new : window - prompt;
    uint32_t total = output > 0 ? prompt + output - 1 : prompt; /* the last token is never computed */
    for (uint32_t g = 0; g < limits->cache->group_count; g++) {
        const kv_pool *pool = &limits->cache->pool[g];
        uint64_t held = total;
        if (pool->window > 0 && held > (uint64_t)pool->window + pool->page_tokens)
            held = (uint64_t)pool->window + pool->page_tokens;
        uint64_t pages = (held + pool->page_tokens - 1) / pool->page_tokens;
        if (pages > pool->page_count)
            return tn_fail(
                err, TN_E_ARGUMENT,
                "max_new: %u prompt and %u new tokens take %llu KV pages of %u tokens, the cache has %u; ask "
                "for fewer tokens or enlarge the KV cache",
                prompt, output, (unsigned long long)pages, pool->page_tokens, pool->page_count);
    }
    return TN_OK;
}

/* The comparisons are written so that NaN fails them. */
static tn_status check_sampling(const request_limits *limits, const tn_request *asked, tn_error *err)
{
    if (!(asked->temperature >= 0 && asked->temperature <= 1e6f))
        return tn_fail(err, TN_E_ARGUMENT, "temperature is %g; it must be 0 (greedy) or positive, at most 1e6",
                       (double)asked->temperature);
    if (!(asked->top_p >= 0 && asked->top_p <= 1))
        return tn_fail(err, TN_E_ARGUMENT, "top_p is %g; it must be in (0, 1]", (double)asked->top_p);
    if (!(asked->min_p >= 0 && asked->min_p <= 1))
        return tn_fail(err, TN_E_ARGUMENT, "min_p is %g; it must be in [0, 1]", (double)asked->min_p);
    if (!(asked->repetition >= 0 && asked->repetition <= 1e6f))
        return tn_fail(err, TN_E_ARGUMENT, "repetition is %g; it must be positive, 1 is neutral",
                       (double)asked->repetition);
    if (!(fabsf(asked->presence) <= 1e6f))
        return tn_fail(err, TN_E_ARGUMENT, "presence is %g; it must be a number of moderate size",
                       (double)asked->presence);
    if (!(fabsf(asked->frequency) <= 1e6f))
        return tn_fail(err, TN_E_ARGUMENT, "frequency is %g; it must be a number of moderate size",
                       (double)asked->frequency);
    if (asked->top_logprobs > 0 && !(asked->flags & (TN_REQ_LOGPROBS | TN_REQ_PROMPT_LOGPROBS)))
        return tn_fail(err, TN_E_ARGUMENT, "top_logprobs is %u, but no log-probs were asked for", asked->top_logprobs);
    return check_count("top_logprobs", asked->top_logprobs, limits->config->max_top_logprobs, err);
}

static tn_status check_stop(const request_limits *limits, const tn_request *asked, tn_error *err)
{
    tn_status status = check_count("stop_count", asked->stop_count, limits->config->max_stop, err);
    if (status != TN_OK)
        return status;
    if (asked->stop_count > 0 && !asked->stop)
        return tn_fail(err, TN_E_ARGUMENT, "stop is NULL but stop_count is %u", asked->stop_count);
    for (uint32_t i = 0; i < asked->stop_count; i++) {
        const char *text = asked->stop[i];
        uint64_t bytes = text ? strnlen(text, (size_t)limits->config->max_stop_bytes + 1) : 0;
        if (bytes == 0)
            return tn_fail(err, TN_E_ARGUMENT, "stop[%u] is empty", i);
        if (bytes > limits->config->max_stop_bytes)
            return tn_fail(err, TN_E_ARGUMENT, "stop[%u] is longer than %u bytes", i, limits->config->max_stop_bytes);
        if (!utf8_is_valid(text, bytes))
            return tn_fail(err, TN_E_ARGUMENT, "stop[%u] is not valid UTF-8", i);
    }
    return TN_OK;
}

static tn_status check_lists(const request_limits *limits, const tn_request *asked, tn_error *err)
{
    const engine_config *config = limits->config;
    tn_status status = check_count("stop_token_count", asked->stop_token_count, config->max_stop_tokens, err);
    if (status == TN_OK)
        status = check_tokens("stop_token", asked->stop_token, asked->stop_token_count, limits->vocab, err);
    if (status == TN_OK)
        status = check_count("bias_count", asked->bias_count, config->max_bias, err);
    if (status == TN_OK && asked->bias_count > 0 && !asked->bias)
        status = tn_fail(err, TN_E_ARGUMENT, "bias is NULL but bias_count is %u", asked->bias_count);
    for (uint32_t i = 0; status == TN_OK && i < asked->bias_count; i++) {
        status = check_tokens("bias", &asked->bias[i].token, 1, limits->vocab, err);
        if (status == TN_OK && !(fabsf(asked->bias[i].value) <= 1e6f))
            status = tn_fail(err, TN_E_ARGUMENT, "bias[%u] is %g; it must be a number of moderate size", i,
                             (double)asked->bias[i].value);
    }
    if (status == TN_OK && asked->allowed && asked->allowed_count == 0)
        status = tn_fail(err, TN_E_ARGUMENT, "allowed is an empty list, which leaves no token to choose");
    if (status == TN_OK)
        status = check_count("allowed_count", asked->allowed_count, limits->vocab, err);
    if (status == TN_OK)
        status = check_tokens("allowed", asked->allowed, asked->allowed_count, limits->vocab, err);
    return status;
}

static tn_status check_grammar(const tn_request *asked, tn_error *err)
{
    if (!request_asks_grammar(asked))
        return TN_OK;
    if (asked->grammar_kind > TN_GRAMMAR_CHOICE)
        return tn_fail(err, TN_E_ARGUMENT, "grammar_kind is %u, which is unknown", asked->grammar_kind);
    if (asked->grammar_bytes > 0 && !asked->grammar)
        return tn_fail(err, TN_E_ARGUMENT, "grammar is NULL but grammar_bytes is %u", asked->grammar_bytes);
    if (asked->grammar_bytes > 0 && !utf8_is_valid(asked->grammar, asked->grammar_bytes))
        return tn_fail(err, TN_E_ARGUMENT, "grammar is not valid UTF-8");
    return check_count("grammar_bytes", asked->grammar_bytes, GRAMMAR_TEXT_MAX, err);
}

static bool contains(const int32_t *token, uint32_t count, int32_t wanted)
{
    for (uint32_t i = 0; i < count; i++)
        if (token[i] == wanted)
            return true;
    return false;
}

/* With min_new, tokens that stop are banned at first; something else must be allowed then. */
static tn_status check_allowed_before_min(const request_limits *limits, const tn_request *asked, tn_error *err)
{
    if (asked->min_new == 0 || asked->allowed_count == 0)
        return TN_OK;
    for (uint32_t i = 0; i < asked->allowed_count; i++) {
        int32_t token = asked->allowed[i];
        bool ends = !(asked->flags & TN_REQ_IGNORE_EOS) && contains(limits->end_token, limits->end_token_count, token);
        if (!ends && !contains(asked->stop_token, asked->stop_token_count, token))
            return TN_OK;
    }
    return tn_fail(err, TN_E_ARGUMENT, "allowed holds only tokens that stop, but min_new is %u", asked->min_new);
}

/* TN_NEED_* of the rows of such a request. */
static uint32_t needs_of(const request_limits *limits, const tn_request *asked)
{
    uint32_t need = 0;
    bool bans = asked->min_new > 0 &&
                (asked->stop_token_count > 0 || (limits->end_token_count > 0 && !(asked->flags & TN_REQ_IGNORE_EOS)));
    if (asked->allowed_count > 0 || request_asks_grammar(asked))
        need |= TN_NEED_MASK;
    if (asked->bias_count > 0 || bans)
        need |= TN_NEED_BIAS;
    if ((asked->repetition != 0 && asked->repetition != 1) || asked->presence != 0 || asked->frequency != 0)
        need |= TN_NEED_PENALTY;
    if (asked->flags & TN_REQ_PROMPT_LOGPROBS)
        need |= TN_NEED_SCORE;
    return need;
}

static tn_status check_can(uint32_t need, uint32_t can, tn_error *err)
{
    static const struct {
        uint32_t bit;
        const char *field;
    } field[] = {
        {TN_NEED_MASK, "allowed, grammar: token masks"},
        {TN_NEED_BIAS, "bias, min_new: biased tokens"},
        {TN_NEED_PENALTY, "repetition, presence, frequency: penalties"},
        {TN_NEED_SCORE, "flags: prompt log-probs"},
    };
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        if (need & ~can & field[i].bit)
            return tn_fail(err, TN_E_UNSUPPORTED, "%s are not supported by this backend", field[i].field);
    return TN_OK;
}

static tn_status check_request(const request_limits *limits, const tn_request *asked, tn_error *err)
{
    if (!asked || !TN_HAS(asked, tn_request, user))
        return tn_fail(err, TN_E_ARGUMENT, "struct_size of the request is too small; set it to sizeof(tn_request)");
    if (asked->flags & ~(uint32_t)REQUEST_FLAGS)
        return tn_fail(err, TN_E_ARGUMENT, "flags has unknown bits %#x", asked->flags & ~(uint32_t)REQUEST_FLAGS);
    tn_status status = check_length(limits, asked, err);
    if (status == TN_OK)
        status = check_tokens("token", asked->token, asked->token_count, limits->vocab, err);
    if (status == TN_OK)
        status = check_count("n_choices", asked->n_choices, limits->config->max_choices, err);
    if (status == TN_OK && asked->n_choices > 1 && asked->max_new == 0)
        status = tn_fail(err, TN_E_ARGUMENT, "n_choices is %u, but max_new is 0", asked->n_choices);
    if (status == TN_OK)
        status = check_sampling(limits, asked, err);
    if (status == TN_OK)
        status = check_stop(limits, asked, err);
    if (status == TN_OK)
        status = check_lists(limits, asked, err);
    if (status == TN_OK)
        status = check_allowed_before_min(limits, asked, err);
    if (status == TN_OK)
        status = check_grammar(asked, err);
    if (status == TN_OK && asked->cache_salt &&
        strnlen(asked->cache_salt, CACHE_SALT_BYTES_MAX + 1) > CACHE_SALT_BYTES_MAX)
        status = tn_fail(err, TN_E_ARGUMENT, "cache_salt is longer than %d bytes", CACHE_SALT_BYTES_MAX);
    if (status == TN_OK)
        status = check_can(needs_of(limits, asked), limits->can, err);
    return status;
}

/* Cuts a request and its sequences out of memory; only counts while memory has no base. */
static void request_layout(const request_sizes *sizes, carve *memory)
{
    request *request = carve_array(memory, 1, sizeof *request);
    int32_t *prompt = carve_array(memory, sizes->prompt, sizeof *prompt);
    int32_t *seen = carve_array(memory, sizes->seen, sizeof *seen);
    stop_string *stop = carve_array(memory, sizes->stops, sizeof *stop);
    char *stop_text = carve_array(memory, sizes->stop_bytes, 1);
    int32_t *stop_token = carve_array(memory, sizes->stop_tokens, sizeof *stop_token);
    tn_bias *bias = carve_array(memory, sizes->biases, sizeof *bias);
    uint32_t *mask = carve_array(memory, sizes->mask_words, sizeof *mask);
    char *grammar_text = carve_array(memory, sizes->grammar_bytes, 1);
    sequence *sequences = carve_array(memory, sizes->choices, sizeof *sequences);

    if (memory->base) {
        request->prompt = prompt;
        request->seen = seen;
        request->stop = stop;
        request->stop_token = stop_token;
        request->bias = bias;
        request->mask = sizes->mask_words > 0 ? mask : NULL;
        request->grammar_text = grammar_text;
        request->sequence = sequences;
        if (sizes->stops > 0)
            stop[0].text = stop_text;
    }
    for (uint32_t i = 0; i < sizes->choices; i++) {
        uint32_t seen_max = sizes->penalised ? sizes->max_new : 0;
        sequence one = {.request = request, .choice = i, .slot = SLOT_NONE};
        one.output = carve_array(memory, sizes->max_new, sizeof *one.output);
        one.block_hash = carve_array(memory, sizes->blocks, sizeof *one.block_hash);
        one.seen = carve_array(memory, seen_max, sizeof *one.seen);
        one.seen_times = carve_array(memory, seen_max, sizeof *one.seen_times);
        one.text.held = carve_array(memory, sizes->held_bytes, 1);
        one.grammar = carve_array(memory, sizes->constrained, sizeof *one.grammar);
        if (!sizes->constrained)
            one.grammar = NULL;
        if (memory->base)
            sequences[i] = one;
    }
}

static int compare_tokens(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

/* The distinct tokens of the prompt, ascending. */
static void copy_seen(request *request)
{
    uint32_t count = 0;
    memcpy(request->seen, request->prompt, request->prompt_count * sizeof *request->seen);
    qsort(request->seen, request->prompt_count, sizeof *request->seen, compare_tokens);
    for (uint32_t i = 0; i < request->prompt_count; i++)
        if (count == 0 || request->seen[count - 1] != request->seen[i])
            request->seen[count++] = request->seen[i];
    request->seen_count = count;
}

static void copy_lists(request *request, const tn_request *asked)
{
    char *text = request->stop_count > 0 ? (char *)(uintptr_t)request->stop[0].text : NULL;

    for (uint32_t i = 0; i < request->stop_count; i++) {
        uint32_t bytes = (uint32_t)strlen(asked->stop[i]);
        memcpy(text, asked->stop[i], (size_t)bytes + 1);
        request->stop[i] = (stop_string){.text = text, .bytes = bytes};
        text += bytes + 1;
    }
    for (uint32_t i = 0; i < request->stop_token_count; i++)
        request->stop_token[i] = asked->stop_token[i];
    for (uint32_t i = 0; i < request->bias_count; i++)
        request->bias[i] = asked->bias[i];
    for (uint32_t i = 0; i < asked->allowed_count; i++)
        request->mask[asked->allowed[i] / 32] |= 1u << (asked->allowed[i] % 32);
    if (request->grammar_bytes > 0)
        memcpy(request->grammar_text, asked->grammar, request->grammar_bytes);
}

static void copy_numbers(request *request, const tn_request *asked, const request_sizes *sizes)
{
    request->user = asked->user;
    request->flags = asked->flags;
    request->max_new = sizes->max_new;
    request->min_new = asked->min_new;
    request->choice_count = request->open_count = sizes->choices;
    request->priority = asked->priority;
    request->temperature = asked->temperature;
    request->top_p = asked->top_p > 0 ? asked->top_p : 1;
    request->min_p = asked->min_p;
    request->repetition = asked->repetition > 0 ? asked->repetition : 1;
    request->presence = asked->presence;
    request->frequency = asked->frequency;
    request->top_k = asked->top_k;
    request->top_logprobs = asked->top_logprobs;
    request->stop_count = asked->stop_count;
    request->stop_token_count = asked->stop_token_count;
    request->bias_count = asked->bias_count;
    request->grammar_kind = sizes->constrained ? asked->grammar_kind : TN_GRAMMAR_NONE;
    request->grammar_bytes = sizes->grammar_bytes;
    request->prompt_count = sizes->prompt;
}

/* Hashes the whole blocks of the prompt here, where it costs the loop nothing. */
static void hash_prompt(request *request, const prefix_cache *cache, const char *salt)
{
    uint32_t blocks = request->prompt_count / cache->block_tokens;

    request->root = prefix_cache_root(cache, salt);
    if (blocks > 0)
        sequence_block_hash(&request->sequence[0], cache, blocks - 1);
    for (uint32_t i = 1; i < request->choice_count; i++) {
        memcpy(request->sequence[i].block_hash, request->sequence[0].block_hash, blocks * sizeof(hash128));
        request->sequence[i].hashed = blocks;
    }
}

static request_sizes measure(const request_limits *limits, const tn_request *asked)
{
    uint32_t window = limits->config->max_model_len;
    request_sizes sizes = {
        .prompt = (uint32_t)asked->token_count,
        .choices = asked->n_choices > 0 ? asked->n_choices : 1,
        .stops = asked->stop_count,
        .stop_tokens = asked->stop_token_count,
        .biases = asked->bias_count,
        .mask_words = asked->allowed_count > 0 ? limits->vocab / 32 + (limits->vocab % 32 > 0) : 0,
        .grammar_bytes = request_asks_grammar(asked) ? asked->grammar_bytes : 0,
        .penalised = (needs_of(limits, asked) & TN_NEED_PENALTY) != 0,
        .constrained = request_asks_grammar(asked),
    };
    sizes.max_new = asked->max_new < window - sizes.prompt ? asked->max_new : window - sizes.prompt;
    sizes.seen = sizes.penalised ? sizes.prompt : 0;
    for (uint32_t i = 0; i < asked->stop_count; i++) {
        uint32_t bytes = (uint32_t)strlen(asked->stop[i]);
        sizes.stop_bytes += bytes + 1;
        if (bytes > sizes.stop_longest)
            sizes.stop_longest = bytes;
    }
    sizes.held_bytes = (uint32_t)detokenizer_capacity(limits->piece_bytes, sizes.stop_longest);
    if (limits->cache->block_tokens > 0 && !(asked->flags & TN_REQ_NO_CACHE))
        sizes.blocks = (sizes.prompt + sizes.max_new) / limits->cache->block_tokens;
    return sizes;
}

tn_status request_create(const request_limits *limits, const tn_request *asked, request **ret_request, tn_error *err)
{
    carve memory = {0};
    tn_status status = check_request(limits, asked, err);
    if (status != TN_OK)
        return status;

    request_sizes sizes = measure(limits, asked);
    request_layout(&sizes, &memory);
    memory.base = memory.overflow ? NULL : calloc(1, memory.used);
    if (!memory.base)
        return tn_fail(err, TN_E_MEMORY, "no memory for a request of %u prompt tokens", sizes.prompt);

    request *request = (struct request *)memory.base;
    uint64_t bytes = memory.used;
    memory.used = 0;
    request_layout(&sizes, &memory);
    copy_numbers(request, asked, &sizes);
    request->bytes = bytes;
    request->seed = asked->flags & TN_REQ_SEED ? asked->seed : 0;
    request->need = needs_of(limits, asked);
    request->penalised = sizes.penalised;
    request->fills_cache = limits->cache->block_tokens > 0 && !(asked->flags & TN_REQ_NO_CACHE);
    request->reads_cache = request->fills_cache && !request_scores_prompt(request);
    memcpy(request->prompt, asked->token, sizes.prompt * sizeof *request->prompt);
    copy_lists(request, asked);
    if (request->penalised)
        copy_seen(request);
    if (request->fills_cache)
        hash_prompt(request, limits->cache, asked->cache_salt);
    *ret_request = request;
    return TN_OK;
}

bool request_charge(request *request, atomic_ullong *account, uint64_t limit)
{
    if (atomic_fetch_add(account, request->bytes) + request->bytes > limit) {
        atomic_fetch_sub(account, request->bytes);
        return false;
    }
    request->account = account;
    return true;
}

void request_destroy(request *request)
{
    if (request && request->account)
        atomic_fetch_sub(request->account, request->bytes);
    if (request)
        grammar_release(request->grammar);
    free(request);
}

void request_queue_add(request_queue *queue, request *request)
{
    request->submitted_next = NULL;
    *(queue->first ? &queue->last->submitted_next : &queue->first) = request;
    queue->last = request;
}

request *request_queue_take(request_queue *queue)
{
    request *oldest = queue->first;
    if (oldest)
        queue->first = oldest->submitted_next;
    return oldest;
}

uint64_t request_bytes_max(const engine_config *config, uint32_t vocab, uint32_t piece_bytes)
{
    carve memory = {0};
    request_sizes sizes = {
        .prompt = config->max_model_len,
        .choices = config->max_choices,
        .max_new = config->max_model_len,
        .stops = config->max_stop,
        .stop_bytes = config->max_stop * (config->max_stop_bytes + 1),
        .stop_tokens = config->max_stop_tokens,
        .biases = config->max_bias,
        .mask_words = vocab / 32 + 1,
        .seen = config->max_model_len,
        .blocks = config->max_model_len,
        .held_bytes = (uint32_t)detokenizer_capacity(piece_bytes, config->max_stop_bytes),
        .grammar_bytes = GRAMMAR_TEXT_MAX,
        .penalised = true,
        .constrained = true,
    };
    request_layout(&sizes, &memory);
    return memory.overflow ? UINT64_MAX : memory.used;
}

bool request_stops_at(const request *request, int32_t token, bool ends)
{
    if (ends && !(request->flags & TN_REQ_IGNORE_EOS))
        return true;
    return contains(request->stop_token, request->stop_token_count, token);
}
