/* step.c: the loop thread: collect what front ends posted, plan, submit, wait, tell.
 *
 * One round runs at most one plan and one wait. With a backend that takes two steps in flight, the second is planned
 * from the running sequences alone, its tokens pointing into the first; everything that moves pages or slots between
 * sequences happens only while nothing is under way. The exception is a sequence that ends: its pages may be reused at
 * once, because a backend runs steps in order.
 */
#include "engine/state.h"

#include <string.h>
#include <time.h>

/* A parked loop comes round this often to show that it lives... */
static const int64_t park_ns = 500 * 1000000LL;
/* ...and this often while sequences wait for somebody else's client. */
static const int64_t park_waiting_ns = 50 * 1000000LL;

/* ---- ends ---- */

static void link_live(tn_engine *engine, request *request)
{
    request->live_prev = NULL;
    request->live_next = engine->live;
    if (engine->live)
        engine->live->live_prev = request;
    engine->live = request;
}

static void unlink_live(tn_engine *engine, request *request)
{
    *(request->live_prev ? &request->live_prev->live_next : &engine->live) = request->live_next;
    if (request->live_next)
        request->live_next->live_prev = request->live_prev;
}

static void observe_request(tn_engine *engine, const request *request)
{
    stats *stats = &engine->stats;
    int64_t now = stats_now_ns();
    uint64_t ms = (uint64_t)(now - request->submitted_ns) / 1000000;
    uint64_t known = atomic_load_explicit(&stats->request_ms, memory_order_relaxed);

    stats_observe_ns(stats, STATS_E2E_LATENCY, now - request->submitted_ns);
    stats_observe_count(stats, STATS_PROMPT_TOKENS, request->prompt_count);
    stats_observe_count(stats, STATS_GENERATION_TOKENS, request->generated_tokens);
    atomic_store_explicit(&stats->request_ms, known == 0 ? ms : (known * 7 + ms) / 8, memory_order_relaxed);
    if (request->first_token_ns == 0)
        return;
    stats_observe_ns(stats, STATS_PREFILL_TIME, request->first_token_ns - request->accepted_ns);
    stats_observe_ns(stats, STATS_DECODE_TIME, request->last_token_ns - request->first_token_ns);
    stats_observe_ns(stats, STATS_INFERENCE_TIME, request->last_token_ns - request->accepted_ns);
}

/* Tells DONE. The client may free the request, and close, as soon as the event is queued. */
static void finish_request(tn_engine *engine, request *request, tn_status status)
{
    tn_client *client = request->client;

    unlink_live(engine, request);
    if (!request->accepted)
        atomic_fetch_sub(&engine->waiting_count, 1);
    if (request->accepted)
        observe_request(engine, request);
    request->done_event.done = request;
    request->done_event.event = (tn_event){
        .kind = TN_EVENT_DONE,
        .request = request->id,
        .user = request->user,
        .status = status,
        .text = request->error,
        .text_bytes = strlen(request->error),
        .seed = request->seed,
        .prompt_tokens = request->prompt_count,
        .cached_tokens = request->cached_tokens,
        .generated_tokens = request->generated_tokens,
    };
    client_push(client, &request->done_event);
    pthread_mutex_lock(&engine->mutex);
    if (--engine->outstanding == 0)
        pthread_cond_broadcast(&engine->drained);
    pthread_mutex_unlock(&engine->mutex);
}

/* Steps under way must not touch the sequence when their results come. */
static void forget_in_flight(tn_engine *engine, const sequence *sequence)
{
    for (uint32_t i = 0; i < engine->in_flight; i++) {
        schedule *schedule = &engine->step[(engine->oldest + i) % engine->depth].schedule;
        for (uint32_t j = 0; j < schedule->count; j++) {
            scheduled *item = &schedule->item[j];
            if (item->sequence != sequence)
                continue;
            sequence->request->client->reserved -= item->score_count + item->samples;
            item->sequence = NULL;
        }
    }
}

static void end_sequence(tn_engine *engine, sequence *sequence, uint32_t finish, int32_t stop_token, const char *stop)
{
    request *request = sequence->request;
    detokenizer *text = &sequence->text;

    forget_in_flight(engine, sequence);
    scheduler_remove(engine, sequence);
    detokenizer_end(text);
    text->held[text->held_bytes] = 0;
    stats_finished(&engine->stats, finish);
    sequence->choice_event.event = (tn_event){
        .kind = TN_EVENT_CHOICE,
        .request = request->id,
        .user = request->user,
        .choice = sequence->choice,
        .index = sequence->generated,
        .finish = finish,
        .stop_token = stop_token,
        .stop = stop,
        .text = text->held,
        .text_bytes = text->held_bytes,
        .text_offset = text->shown_bytes,
    };
    client_push(request->client, &sequence->choice_event);
    request->open_count--;
}

/* Ends one sequence, and with the last one its request, which is gone then. */
static void finish_sequence(tn_engine *engine, sequence *sequence, uint32_t finish, int32_t stop_token,
                            const char *stop)
{
    request *request = sequence->request;
    end_sequence(engine, sequence, finish, stop_token, stop);
    if (request->open_count == 0)
        finish_request(engine, request, TN_OK);
}

/* Ends all of a request that is still open. */
static void abandon_request(tn_engine *engine, request *request, uint32_t finish, tn_status status, const char *message)
{
    snprintf(request->error, sizeof request->error, "%s", message);
    for (uint32_t i = 0; i < request->choice_count; i++)
        if (request->sequence[i].state != SEQUENCE_FINISHED)
            end_sequence(engine, &request->sequence[i], finish, -1, NULL);
    finish_request(engine, request, status);
}

static void fail_all(tn_engine *engine)
{
    while (engine->live)
        abandon_request(engine, engine->live, TN_FINISH_ERROR, engine->failure, engine->reason);
}

/* The device or a step has failed: nothing computed since can be trusted, so everything ends and nothing new begins. */
static void fail_engine(tn_engine *engine, tn_status status, const char *message)
{
    pthread_mutex_lock(&engine->mutex);
    engine->failure = status;
    snprintf(engine->reason, sizeof engine->reason, "%.*s", (int)sizeof engine->reason - 1, message);
    pthread_mutex_unlock(&engine->mutex);
    atomic_store(&engine->failed, true);
    fail_all(engine);
    engine->in_flight = 0;
}

/* ---- results ---- */

static void fill_top(const request *request, const step_result *result, uint32_t row, event_node *node)
{
    tn_event *event = &node->event;
    event->top_count = request->top_logprobs;
    if (request->top_logprobs == 0)
        return;
    memcpy(node->top_id, result->top_id + (size_t)row * result->top_stride,
           request->top_logprobs * sizeof *node->top_id);
    memcpy(node->top_logprob, result->top_logprob + (size_t)row * result->top_stride,
           request->top_logprobs * sizeof *node->top_logprob);
    event->top_id = node->top_id;
    event->top_logprob = node->top_logprob;
}

/* PROMPT events of a chunk; false if a row had no valid logits. */
static bool tell_scores(const scheduled *item, const step_result *result)
{
    const request *request = item->sequence->request;
    bool valid = true;

    for (uint32_t i = 0; i < item->score_count; i++) {
        uint32_t row = item->out_first + i, position = item->score_first + i;
        event_node *node = client_take_node(request->client);
        node->text[0] = 0;
        node->event = (tn_event){
            .kind = TN_EVENT_PROMPT,
            .request = request->id,
            .user = request->user,
            .index = position + 1,
            .token = request->prompt[position + 1],
            .text = node->text,
            .logprob = result->target_logprob[row],
        };
        fill_top(request, result, row, node);
        client_push(request->client, node);
        valid = valid && result->id[row] >= 0;
    }
    return valid;
}

/* The bytes of a token into engine->piece; 0 for special tokens that are not to be shown. */
static uint32_t piece_of(tn_engine *engine, const request *request, int32_t token)
{
    uint64_t n = engine->limits.piece_bytes;
    uint32_t flags = request->flags & TN_REQ_SHOW_SPECIAL ? 0 : TN_PIECE_SKIP_SPECIAL;

    if ((uint32_t)token >= engine->tok_vocab)
        return 0; /* a row of the output matrix that pads the vocabulary has no text */
    tn_status status = engine->tokenizer->piece(engine->tok, token, flags, 0, engine->piece, &n, NULL);
    TN_ASSERT(status == TN_OK && n <= engine->limits.piece_bytes); /* all were measured at start */
    return (uint32_t)n;
}

static bool ends_generation(const tn_engine *engine, int32_t token)
{
    return (engine->ends[token / 8] >> (token % 8) & 1) != 0;
}

typedef struct verdict {
    uint32_t finish; /* TN_FINISH_NONE: goes on */
    int32_t stop_token;
    const char *stop;
} verdict;

/* Adds a token to output and text and applies the stop rules. */
static verdict take_token(tn_engine *engine, sequence *sequence, int32_t token)
{
    const request *request = sequence->request;
    verdict verdict = {TN_FINISH_NONE, -1, NULL};

    sequence_append(sequence, token);
    bool may_stop = sequence->generated > request->min_new;
    bool stops = may_stop && request_stops_at(request, token, ends_generation(engine, token));
    uint32_t n = stops && !(request->flags & TN_REQ_KEEP_STOP) ? 0 : piece_of(engine, request, token);
    uint32_t found = detokenizer_push(&sequence->text, engine->piece, n, request->stop, request->stop_count,
                                      request->stop_count > 0 && may_stop, (request->flags & TN_REQ_KEEP_STOP) != 0);
    if (request->grammar && !stops && !grammar_desk_take(&engine->desk, sequence, engine->piece, n)) {
        verdict.finish = TN_FINISH_ERROR;
    } else if (found != DETOKENIZER_NO_STOP) {
        verdict.finish = TN_FINISH_STOP;
        verdict.stop = request->stop[found].text;
    } else if (stops) {
        verdict.finish = TN_FINISH_STOP;
        verdict.stop_token = token;
    } else if (request->grammar && grammar_desk_is_over(sequence)) {
        verdict.finish = TN_FINISH_STOP;
    } else if (sequence->generated == request->max_new) {
        verdict.finish = TN_FINISH_LENGTH;
    }
    return verdict;
}

static void tell_token(const scheduled *item, const step_result *result, int32_t token)
{
    sequence *sequence = item->sequence;
    const request *request = sequence->request;
    uint32_t row = item->out_first + item->score_count;
    event_node *node = client_take_node(request->client);
    uint64_t offset = sequence->text.shown_bytes;
    uint32_t bytes = detokenizer_take(&sequence->text, node->text);

    node->event = (tn_event){
        .kind = TN_EVENT_TOKEN,
        .request = request->id,
        .user = request->user,
        .choice = sequence->choice,
        .index = sequence->generated - 1,
        .token = token,
        .text = node->text,
        .text_bytes = bytes,
        .text_offset = offset,
    };
    if (request->flags & TN_REQ_LOGPROBS) {
        node->event.logprob = result->logprob[row];
        fill_top(request, result, row, node);
    }
    client_push(request->client, node);
}

static void time_token(tn_engine *engine, sequence *sequence)
{
    request *request = sequence->request;
    int64_t now = stats_now_ns();

    if (request->first_token_ns == 0) {
        request->first_token_ns = now;
        stats_observe_ns(&engine->stats, STATS_TIME_TO_FIRST_TOKEN, now - request->submitted_ns);
    }
    if (sequence->last_token_ns != 0)
        stats_observe_ns(&engine->stats, STATS_INTER_TOKEN_LATENCY, now - sequence->last_token_ns);
    sequence->last_token_ns = request->last_token_ns = now;
    request->generated_tokens++;
    stats_add(&engine->stats, STATS_GENERATION_TOTAL, 1);
}

/* What is in KV up to `end` for certain: remembers whole blocks, lets windows slide. */
static void settle_pages(tn_engine *engine, sequence *sequence, uint32_t end)
{
    const request *request = sequence->request;
    bool fork_ahead = !request->forked && request->choice_count > 1;
    uint32_t fork_point = scheduler_fork_point(engine, request);

    if (request->fills_cache)
        for (; (sequence->published + 1) * engine->cache.block_tokens <= end; sequence->published++)
            page_table_publish(&engine->pages, sequence->slot,
                               sequence_block_hash(sequence, &engine->cache, sequence->published), sequence->published);
    page_table_slide(&engine->pages, sequence->slot, fork_ahead && fork_point < end ? fork_point : end);
}

/* Ends a request whose row gave no token. A grammar and a list of allowed tokens may leave none between them, which is
 * the client's doing; all else is not. */
static void fail_row(tn_engine *engine, request *request, uint32_t position)
{
    bool contradicts = request->grammar && request->mask;
    char message[128];

    snprintf(message, sizeof message, "%s behind position %u",
             contradicts        ? "none of the allowed tokens can go on with the text as the grammar wants it"
             : request->grammar ? "no token can go on with the text as the grammar wants it"
                                : "the model gave no usable logits",
             position);
    abandon_request(engine, request, TN_FINISH_ERROR, contradicts ? TN_E_ARGUMENT : TN_E_INTERNAL, message);
}

/* One sequence's results. An error is the backend's. */
static tn_status take_item(tn_engine *engine, const scheduled *item, const step_result *result, tn_error *err)
{
    sequence *sequence = item->sequence;
    request *request = sequence->request;
    uint32_t row = item->out_first + item->score_count;
    int32_t token = item->samples ? result->id[row] : 0;
    tn_status status = TN_OK;

    sequence->pending -= item->samples;
    bool valid = tell_scores(item, result);
    if (!valid || (item->samples && (token < 0 || (uint32_t)token >= engine->limits.vocab))) {
        if (item->samples)
            request->client->reserved--; /* its event will not come */
        fail_row(engine, request, item->start + item->count - 1);
        return TN_OK;
    }
    settle_pages(engine, sequence, item->start + item->count); /* not what came with such a row: others would read it */
    if (item->samples && !request->forked && request->choice_count > 1)
        status = scheduler_fork(engine, sequence, err);
    if (item->samples) {
        verdict verdict = take_token(engine, sequence, token);
        time_token(engine, sequence);
        tell_token(item, result, token);
        if (verdict.finish == TN_FINISH_ERROR)
            abandon_request(engine, request, TN_FINISH_ERROR, TN_E_INTERNAL, "a token was sampled against its mask");
        else if (verdict.finish != TN_FINISH_NONE)
            finish_sequence(engine, sequence, verdict.finish, verdict.stop_token, verdict.stop);
    } else if (request->max_new == 0 && item->start + item->count == sequence_target(sequence)) {
        finish_sequence(engine, sequence, TN_FINISH_LENGTH, -1, NULL);
    }
    return status;
}

static void wait_oldest(tn_engine *engine)
{
    step *step = &engine->step[engine->oldest];
    tn_error error = TN_ERROR_INIT;
    uint32_t tokens = step->schedule.token_count;

    tn_status status = engine->backend->wait(engine->model, step->ticket, &step->result.result, &error);
    stats_step_ended(&engine->stats, tokens, stats_now_ns() - step->submitted_ns);
    if (status != TN_OK) {
        fail_engine(engine, status, error.msg[0] ? error.msg : tn_status_text(status));
        return;
    }
    stats_observe_count(&engine->stats, STATS_ITERATION_TOKENS, tokens);
    /* The step leaves the ring only when all its items are told: one that ends the request of a later item in this step
     * takes that item out, too. */
    for (uint32_t i = 0; i < step->schedule.count && status == TN_OK; i++) {
        scheduled item = step->schedule.item[i];
        step->schedule.item[i].sequence = NULL;
        if (item.sequence)
            status = take_item(engine, &item, &step->result, &error);
    }
    if (status != TN_OK) {
        fail_engine(engine, status, error.msg[0] ? error.msg : tn_status_text(status));
        return;
    }
    engine->oldest = (engine->oldest + 1) % engine->depth;
    engine->in_flight--;
}

/* ---- submission ---- */

/* The step is under way: its rows count as computed from now on. */
static void commit(const schedule *schedule)
{
    for (uint32_t i = 0; i < schedule->count; i++) {
        const scheduled *item = &schedule->item[i];
        sequence *sequence = item->sequence;
        sequence->computed = item->start + item->count;
        if (item->score_count > 0)
            sequence->request->scored = item->score_first + item->score_count;
        if (item->samples) {
            sequence->pending++;
            sequence->pending_row = item->out_first + item->score_count;
        }
    }
}

/* The backend ran out of memory for a step: half of it may do. At one row, the request it belongs to ends. */
static void shrink(tn_engine *engine, const schedule *schedule, tn_status status, const char *message)
{
    if (schedule->token_count > 1)
        engine->row_limit = schedule->token_count / 2;
    else
        abandon_request(engine, schedule->item[0].sequence->request, TN_FINISH_ERROR, status, message);
}

/* After a step that fitted, a larger one is tried again. */
static void grow(tn_engine *engine)
{
    uint32_t most = engine->config.max_num_batched_tokens;
    engine->row_limit = engine->row_limit < most / 2 ? engine->row_limit * 2 : most;
}

/* Plans and submits one step; true if there was one. */
static bool submit_step(tn_engine *engine)
{
    uint32_t newest = (engine->oldest + engine->in_flight) % engine->depth;
    step *step = &engine->step[newest];
    bool only_running = engine->in_flight > 0;
    uint64_t prev = only_running ? engine->step[(newest + engine->depth - 1) % engine->depth].ticket : 0;
    tn_error error = TN_ERROR_INIT;

    scheduler_plan(engine, &step->schedule, only_running);
    if (step->schedule.count == 0)
        return false;
    batch_builder_fill(engine, &step->schedule, prev, &step->result);
    step->submitted_ns = stats_now_ns();
    stats_step_begins(&engine->stats, step->schedule.token_count);
    tn_status status = engine->backend->submit(engine->model, &engine->builder.batch, &step->ticket, &error);
    if (status == TN_OK) {
        commit(&step->schedule);
        grow(engine);
        engine->in_flight++;
        return true;
    }
    scheduler_abandon(engine, &step->schedule);
    if ((status == TN_E_MEMORY || status == TN_E_AGAIN) && only_running)
        return false; /* the step under way comes first */
    if (status == TN_E_MEMORY)
        shrink(engine, &step->schedule, status, error.msg);
    else
        fail_engine(engine, status, error.msg[0] ? error.msg : tn_status_text(status));
    return true;
}

/* ---- the loop ---- */

static void publish_gauges(tn_engine *engine)
{
    uint64_t used_ppm = 0;
    for (uint32_t g = 0; g < engine->cache.group_count; g++) {
        const kv_pool *pool = &engine->cache.pool[g];
        uint64_t ppm = (uint64_t)(pool->page_count - pool->free_count) * 1000000 / pool->page_count;
        if (ppm > used_ppm)
            used_ppm = ppm;
    }
    stats_set(&engine->stats, STATS_RUNNING, engine->scheduler.running_count);
    stats_set(&engine->stats, STATS_WAITING, engine->scheduler.waiting_count);
    stats_set(&engine->stats, STATS_KV_USED_PPM, used_ppm);
}

static void receive(tn_engine *engine, request *request)
{
    link_live(engine, request);
    if (request->grammar)
        for (uint32_t i = 0; i < request->choice_count; i++)
            grammar_desk_begin(&engine->desk, &request->sequence[i]);
    if (atomic_load(&engine->failed)) {
        abandon_request(engine, request, TN_FINISH_ERROR, engine->failure, engine->reason);
    } else if (atomic_load(&request->cancelled)) {
        abandon_request(engine, request, TN_FINISH_CANCELLED, TN_E_CANCELLED, "cancelled");
    } else if (request->refused != TN_OK) {
        char message[sizeof request->error];
        memcpy(message, request->error, sizeof message);
        abandon_request(engine, request, TN_FINISH_ERROR, request->refused, message);
    } else if (request->max_new == 0 && request->prompt_count == 1) {
        scheduler_accept(engine, &request->sequence[0]); /* nothing precedes the only token: nothing to compute */
        finish_sequence(engine, &request->sequence[0], TN_FINISH_LENGTH, -1, NULL);
    } else {
        scheduler_enqueue(engine, &request->sequence[0]);
    }
}

static void cancel_marked(tn_engine *engine)
{
    request *next;
    if (!atomic_exchange(&engine->cancel_pending, false))
        return;
    for (request *at = engine->live; at; at = next) {
        next = at->live_next;
        if (atomic_load(&at->cancelled))
            abandon_request(engine, at, TN_FINISH_CANCELLED, TN_E_CANCELLED, "cancelled");
    }
}

static void park(tn_engine *engine)
{
    struct timespec until;
    int64_t deadline = stats_now_ns() + (engine->scheduler.waiting_head ? park_waiting_ns : park_ns);

    until.tv_sec = deadline / 1000000000;
    until.tv_nsec = deadline % 1000000000;
    while (!engine->woken && !engine->stopping)
        if (pthread_cond_timedwait(&engine->wake, &engine->mutex, &until) != 0)
            break;
}

/* Takes what front ends posted; parks first if there is nothing else to do. False: stop. */
static bool collect(tn_engine *engine, bool idle)
{
    pthread_mutex_lock(&engine->mutex);
    if (idle)
        park(engine);
    request *at = engine->submitted.first;
    bool stopping = engine->stopping;
    engine->submitted = (request_queue){0};
    engine->woken = false;
    pthread_mutex_unlock(&engine->mutex);

    engine->now_ns = stats_now_ns();
    stats_beat(&engine->stats);
    while (at) {
        request *next = at->submitted_next;
        receive(engine, at);
        at = next;
    }
    cancel_marked(engine);
    return !stopping;
}

/* One round; false if there was nothing to do. */
static bool run_round(tn_engine *engine)
{
    bool submitted = false;

    if (engine->in_flight == 0 || (engine->in_flight < engine->depth && !scheduler_has_candidate(engine)))
        submitted = submit_step(engine);
    if (engine->in_flight == 0)
        return submitted;
    if (engine->in_flight == engine->depth || !submitted)
        wait_oldest(engine);
    return true;
}

void *step_loop(void *argument)
{
    tn_engine *engine = argument;
    bool idle = true;

    while (collect(engine, idle)) {
        idle = atomic_load(&engine->failed) || !run_round(engine);
        publish_gauges(engine);
    }
    while (engine->in_flight > 0 && !atomic_load(&engine->failed))
        wait_oldest(engine);
    return NULL;
}
