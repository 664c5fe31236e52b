/* grammar_desk.c: see grammar_desk.h. */
#include "engine/grammar_desk.h"

#include "engine/state.h"

#include <errno.h>
#include <string.h>

/* Assumed by the plan, before a tokenizer is there to ask: vocabularies of 49,000 and of 131,000 tokens have 2.05. */
enum { PLANNED_NODES_PER_TOKEN = 3 };

uint64_t grammar_desk_tools_bytes(uint32_t vocab)
{
    uint64_t words = (uint64_t)vocab / 32 + 1;
    uint64_t token = PLANNED_NODES_PER_TOKEN * sizeof(token_node) + sizeof(uint32_t);
    return sizeof(grammar_tools) + vocab * token + (MASK_CACHE_ENTRIES + 1) * words * sizeof(uint32_t);
}

/* ---- what is kept ---- */

/* Under the desk's mutex. */
static kept_grammar *find_kept(grammar_desk *desk, const request *request)
{
    for (uint32_t i = 0; i < desk->kept_count; i++) {
        kept_grammar *kept = &desk->kept[i];
        if (kept->kind == request->grammar_kind && kept->bytes == request->grammar_bytes &&
            memcmp(kept->text, request->grammar_text, kept->bytes) == 0)
            return kept;
    }
    return NULL;
}

void grammar_desk_recall(grammar_desk *desk, request *request)
{
    pthread_mutex_lock(&desk->mutex);
    kept_grammar *kept = find_kept(desk, request);
    if (kept) {
        kept->used = ++desk->uses;
        grammar_retain(kept->grammar);
        request->grammar = kept->grammar;
    }
    pthread_mutex_unlock(&desk->mutex);
}

/* Gives up the one not asked for for longest; idle: of those that no request uses. False: there is none. */
static bool drop_oldest(grammar_desk *desk, bool idle)
{
    kept_grammar *oldest = NULL;

    for (uint32_t i = 0; i < desk->kept_count; i++) {
        kept_grammar *kept = &desk->kept[i];
        if (idle && atomic_load(&kept->grammar->users) > 1)
            continue;
        if (!oldest || kept->used < oldest->used)
            oldest = kept;
    }
    if (!oldest)
        return false;
    grammar_release(oldest->grammar);
    free(oldest->text);
    *oldest = desk->kept[--desk->kept_count];
    return true;
}

/* Enters a new grammar among all there are; those that are only kept make room. */
static tn_status enter(grammar_desk *desk, grammar *grammar, tn_error *err)
{
    bool entered;

    pthread_mutex_lock(&desk->mutex);
    do
        entered = grammar_charge(grammar, &desk->bytes, GRAMMARS_BYTES_MAX);
    while (!entered && drop_oldest(desk, true));
    pthread_mutex_unlock(&desk->mutex);
    return entered
               ? TN_OK
               : tn_fail(err, TN_E_AGAIN, "the grammars of requests under way take all of the %d MiB granted to them",
                         GRAMMARS_BYTES_MAX >> 20);
}

/* Keeps a request's grammar; one that finds no memory for its text is used once. */
static void keep(grammar_desk *desk, const request *request)
{
    char *text = malloc((size_t)request->grammar_bytes + 1);

    if (!text)
        return;
    memcpy(text, request->grammar_text, request->grammar_bytes);
    pthread_mutex_lock(&desk->mutex);
    if (desk->kept_count == GRAMMARS_KEPT_MAX)
        drop_oldest(desk, false);
    grammar_retain(request->grammar);
    desk->kept[desk->kept_count++] = (kept_grammar){.kind = request->grammar_kind,
                                                    .bytes = request->grammar_bytes,
                                                    .text = text,
                                                    .grammar = request->grammar,
                                                    .used = ++desk->uses};
    pthread_mutex_unlock(&desk->mutex);
}

/* ---- the desk's thread ---- */

static void destroy_tools(grammar_tools *tools)
{
    if (!tools)
        return;
    token_trie_destroy(tools->trie);
    mask_cache_finish(&tools->masks);
    free(tools);
}

static tn_status make_tools(grammar_desk *desk, tn_error *err)
{
    const tn_engine *engine = desk->engine;
    grammar_tools *tools = calloc(1, sizeof *tools);

    if (!tools || !mask_cache_init(&tools->masks, engine->builder.mask_words)) {
        destroy_tools(tools);
        return tn_fail(err, TN_E_MEMORY, "out of memory for token masks");
    }
    tn_status status = token_trie_create(engine->tokenizer, engine->tok, engine->tok_vocab, &tools->trie, err);
    if (status != TN_OK) {
        destroy_tools(tools);
        return status;
    }
    desk->tools = tools;
    return TN_OK;
}

static tn_status make_grammar(grammar_desk *desk, request *request, tn_error *err)
{
    grammar *made;
    tn_status status =
        grammar_compile(request->grammar_kind, request->grammar_text, request->grammar_bytes, &made, err);
    if (status != TN_OK)
        return status;
    status = enter(desk, made, err);
    if (status != TN_OK) {
        grammar_release(made);
        return status;
    }
    request->grammar = made;
    keep(desk, request);
    return TN_OK;
}

static void compile(grammar_desk *desk, request *request)
{
    tn_error error = TN_ERROR_INIT;
    tn_status status = desk->tools ? TN_OK : make_tools(desk, &error);

    grammar_desk_recall(desk, request); /* it may have been compiled since */
    if (status == TN_OK && !request->grammar)
        status = make_grammar(desk, request, &error);
    request->refused = status;
    if (status != TN_OK)
        snprintf(request->error, sizeof request->error, "%s", error.msg);
}

static void *run(void *argument)
{
    grammar_desk *desk = argument;
    tn_engine *engine = desk->engine;

    pthread_mutex_lock(&engine->mutex);
    for (;;) {
        while (!desk->queue.first && !desk->stopping)
            pthread_cond_wait(&desk->wake, &engine->mutex);
        request *request = request_queue_take(&desk->queue);
        if (!request)
            break;
        pthread_mutex_unlock(&engine->mutex);
        if (!atomic_load(&request->cancelled))
            compile(desk, request);
        pthread_mutex_lock(&engine->mutex);
        engine_pass_on(engine, request);
    }
    pthread_mutex_unlock(&engine->mutex);
    return NULL;
}

void grammar_desk_add(grammar_desk *desk, request *request)
{
    request_queue_add(&desk->queue, request);
    pthread_cond_signal(&desk->wake);
}

tn_status grammar_desk_open(grammar_desk *desk, tn_engine *engine, tn_error *err)
{
    desk->engine = engine;
    pthread_mutex_init(&desk->mutex, NULL);
    pthread_cond_init(&desk->wake, NULL);
    int code = pthread_create(&desk->thread, NULL, run, desk);
    if (code == 0) {
        pthread_setname_np(desk->thread, "tenon-grammar");
        return TN_OK;
    }
    pthread_cond_destroy(&desk->wake);
    pthread_mutex_destroy(&desk->mutex);
    return tn_fail(err, TN_E_INTERNAL, "cannot start the engine's thread for grammars: %s", strerror(code));
}

void grammar_desk_close(grammar_desk *desk)
{
    tn_engine *engine = desk->engine;

    pthread_mutex_lock(&engine->mutex);
    desk->stopping = true;
    pthread_cond_signal(&desk->wake);
    pthread_mutex_unlock(&engine->mutex);
    pthread_join(desk->thread, NULL);
    while (drop_oldest(desk, false))
        ;
    TN_ASSERT(atomic_load(&desk->bytes) == 0);
    destroy_tools(desk->tools);
    pthread_cond_destroy(&desk->wake);
    pthread_mutex_destroy(&desk->mutex);
}

/* ---- the loop ---- */

void grammar_desk_begin(grammar_desk *desk, sequence *sequence)
{
    matcher_start(&desk->tools->matcher, sequence->request->grammar, sequence->grammar);
}

/* What the mask depends on. */
static hash128 key_of(const grammar_desk *desk, const sequence *sequence)
{
    struct {
        uint64_t grammar;
        grammar_state state;
    } seen;
    size_t used = offsetof(grammar_state, thread) + sequence->grammar->count * sizeof(grammar_thread);

    seen.grammar = sequence->request->grammar->id;
    memcpy(&seen.state, sequence->grammar, used);
    return siphash_128(desk->engine->cache.secret, &seen, sizeof seen.grammar + used);
}

static void allow(uint32_t *mask, int32_t token)
{
    mask[token / 32] |= 1u << (token % 32);
}

void grammar_desk_mask(grammar_desk *desk, const sequence *sequence, uint32_t *mask)
{
    const request *request = sequence->request;
    const request_limits *limits = &desk->engine->limits;
    grammar_tools *tools = desk->tools;
    bool known;

    uint32_t *kept = mask_cache_find(&tools->masks, key_of(desk, sequence), &known);
    if (!known)
        matcher_mask(&tools->matcher, request->grammar, sequence->grammar, tools->trie, kept, tools->masks.words);
    memcpy(mask, kept, tools->masks.words * sizeof *mask);
    if (!sequence->grammar->accepts)
        return;
    for (uint32_t i = 0; i < request->stop_token_count; i++)
        allow(mask, request->stop_token[i]);
    for (uint32_t i = 0; i < limits->end_token_count && !(request->flags & TN_REQ_IGNORE_EOS); i++)
        allow(mask, limits->end_token[i]);
}

bool grammar_desk_take(grammar_desk *desk, sequence *sequence, const char *bytes, uint32_t n)
{
    return matcher_advance(&desk->tools->matcher, sequence->request->grammar, sequence->grammar, bytes, n);
}

bool grammar_desk_is_over(const sequence *sequence)
{
    return sequence->grammar->accepts && sequence->grammar->count == 0;
}
