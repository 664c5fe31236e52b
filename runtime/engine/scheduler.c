/* scheduler.c: passes over short arrays of pointers; nothing here costs more than O(max_num_seqs) per step, except
 * queueing a sequence far from the end of the waiting list.
 *
 * Why it cannot lock up: the first in order whose client has room may take pages from all others, and submit refuses
 * what the whole pool could not hold.
 */
#include "engine/scheduler.h"

#include "engine/state.h"

#include <string.h>

static const int64_t stuck_after_ns = 100 * 1000000LL;

/* What is left of a step. */
typedef struct budget {
    uint32_t tokens, outputs;
    uint64_t deltas, seen; /* entries of the lists that the batch builder has room for */
} budget;

void scheduler_layout(scheduler *scheduler, uint32_t group_count, carve *memory)
{
    scheduler->running = carve_array(memory, scheduler->slot_count, sizeof *scheduler->running);
    scheduler->snapshot = carve_array(memory, scheduler->slot_count, sizeof *scheduler->snapshot);
    scheduler->free_slot = carve_array(memory, scheduler->slot_count, sizeof *scheduler->free_slot);
    scheduler->move = carve_array(memory, group_count, sizeof *scheduler->move);
}

void scheduler_init(scheduler *scheduler)
{
    scheduler->free_slot_count = scheduler->slot_count;
    for (uint32_t i = 0; i < scheduler->slot_count; i++)
        scheduler->free_slot[i] = scheduler->slot_count - 1 - i;
}

void schedule_layout(schedule *schedule, uint32_t slot_count, carve *memory)
{
    schedule->item = carve_array(memory, slot_count, sizeof *schedule->item);
}

/* ---- places of a sequence: waiting list, slots, running array ---- */

void scheduler_enqueue(tn_engine *engine, sequence *sequence)
{
    scheduler *scheduler = &engine->scheduler;
    struct sequence *before = scheduler->waiting_tail;

    TN_ASSERT(!sequence->queued);
    while (before && sequence_before(sequence, before))
        before = before->prev;
    sequence->prev = before;
    sequence->next = before ? before->next : scheduler->waiting_head;
    *(sequence->prev ? &sequence->prev->next : &scheduler->waiting_head) = sequence;
    *(sequence->next ? &sequence->next->prev : &scheduler->waiting_tail) = sequence;
    sequence->state = SEQUENCE_WAITING;
    sequence->queued = true;
    scheduler->waiting_count++;
    if (!before)
        scheduler->blocked = false;
}

static void dequeue(scheduler *scheduler, sequence *sequence)
{
    TN_ASSERT(sequence->queued);
    *(sequence->prev ? &sequence->prev->next : &scheduler->waiting_head) = sequence->next;
    *(sequence->next ? &sequence->next->prev : &scheduler->waiting_tail) = sequence->prev;
    sequence->queued = false;
    scheduler->waiting_count--;
}

static void take_slot(scheduler *scheduler, sequence *sequence)
{
    TN_ASSERT(scheduler->free_slot_count > 0);
    TN_ASSERT(sequence->slot == SLOT_NONE);
    sequence->slot = scheduler->free_slot[--scheduler->free_slot_count];
}

static void give_slot(scheduler *scheduler, sequence *sequence)
{
    scheduler->free_slot[scheduler->free_slot_count++] = sequence->slot;
    sequence->slot = SLOT_NONE;
}

static void run(scheduler *scheduler, sequence *sequence)
{
    uint32_t at = scheduler->running_count++;
    for (; at > 0 && sequence_before(sequence, scheduler->running[at - 1]); at--)
        scheduler->running[at] = scheduler->running[at - 1];
    scheduler->running[at] = sequence;
    sequence->state = SEQUENCE_RUNNING;
}

/* Takes a running sequence out of its slot; its KV is lost. */
static void stop_running(tn_engine *engine, sequence *sequence)
{
    scheduler *scheduler = &engine->scheduler;
    uint32_t at = 0;

    while (scheduler->running[at] != sequence)
        at++;
    scheduler->running_count--;
    memmove(&scheduler->running[at], &scheduler->running[at + 1],
            (scheduler->running_count - at) * sizeof *scheduler->running);
    page_table_release(&engine->pages, sequence->slot);
    give_slot(scheduler, sequence);
    sequence->computed = sequence->published = 0;
}

void scheduler_remove(tn_engine *engine, sequence *sequence)
{
    if (sequence->queued)
        dequeue(&engine->scheduler, sequence);
    else if (sequence->state == SEQUENCE_RUNNING)
        stop_running(engine, sequence);
    else if (sequence->state == SEQUENCE_FORKING && sequence->slot != SLOT_NONE)
        give_slot(&engine->scheduler, sequence);
    sequence->state = SEQUENCE_FINISHED;
    engine->scheduler.blocked = false;
}

/* ---- one sequence's share ---- */

/* True if the sequence's client can take one more event; notes since when it cannot. */
static bool has_room(const tn_engine *engine, const sequence *sequence)
{
    tn_client *client = sequence->request->client;
    if (client_room(client) == 0 && client->reserved == 0) {
        /* Said before looking again: a poll that missed the flag has made room that is seen now. */
        atomic_store(&client->stalled, true);
        if (client_room(client) == 0 && client->full_since_ns == 0)
            client->full_since_ns = engine->now_ns;
    }
    if (client_room(client) == 0)
        return false;
    client->full_since_ns = 0;
    return true;
}

/* True if the sequence's client has let its events lie for long; its pages may go to others then. */
static bool is_stuck(const tn_engine *engine, const sequence *sequence)
{
    const tn_client *client = sequence->request->client;
    return client->full_since_ns != 0 && engine->now_ns - client->full_since_ns > stuck_after_ns &&
           client_room(client) == 0;
}

/* Positions of a chunk whose scores are wanted: [*ret_first, return value). */
static uint32_t score_end(const sequence *sequence, uint32_t start, uint32_t count, uint32_t *ret_first)
{
    const request *request = sequence->request;
    uint32_t first = start > request->scored ? start : request->scored;
    uint32_t end = start + count < request->prompt_count - 1 ? start + count : request->prompt_count - 1;

    *ret_first = first;
    return request_scores_prompt(request) && sequence->choice == 0 && end > first ? end : first;
}

/* Describes the next `count` positions of a sequence; shortens them until the output rows they need are at most
 * `outputs`. */
static scheduled share_of(sequence *sequence, uint32_t count, uint32_t outputs)
{
    scheduled item = {.sequence = sequence, .start = sequence->computed, .count = count};
    uint32_t first, end = score_end(sequence, item.start, count, &first);

    if (end - first > outputs) {
        end = first + outputs;
        item.count = end - item.start;
    }
    item.score_first = first;
    item.score_count = end - first;
    item.samples = sequence->request->max_new > 0 && item.start + item.count == sequence_target(sequence);
    if (item.samples && item.score_count + 1 > outputs) {
        item.count--;
        item.samples = false;
    }
    return item;
}

static void forget_item(schedule *schedule, budget *left, const sequence *sequence)
{
    for (uint32_t i = 0; i < schedule->count; i++) {
        scheduled *item = &schedule->item[i];
        if (item->sequence != sequence)
            continue;
        uint32_t rows = item->score_count + item->samples;
        sequence->request->client->reserved -= rows;
        left->tokens += item->count;
        left->outputs += rows;
        memmove(item, item + 1, (--schedule->count - i) * sizeof *item);
        return;
    }
}

/* A first choice whose prompt has not been shared with its siblings yet. */
static bool is_unforked(const sequence *sequence)
{
    return sequence->choice == 0 && !sequence->request->forked && sequence->request->choice_count > 1;
}

static void preempt(tn_engine *engine, schedule *schedule, budget *left, sequence *victim)
{
    request *request = victim->request;

    forget_item(schedule, left, victim);
    stop_running(engine, victim);
    stats_add(&engine->stats, STATS_PREEMPTIONS, 1);
    for (uint32_t i = 1; i < request->choice_count && is_unforked(victim); i++)
        if (request->sequence[i].slot != SLOT_NONE)
            give_slot(&engine->scheduler, &request->sequence[i]);
    scheduler_enqueue(engine, victim);
}

/* The running sequence that loses its pages to `taker`: one whose client is stuck, else the last in order; NULL if the
 * taker comes after all others, or, for a taker that is not running yet, if none has a lower priority. */
static sequence *victim_for(const tn_engine *engine, const sequence *taker)
{
    const scheduler *scheduler = &engine->scheduler;
    for (uint32_t i = scheduler->running_count; i-- > 0;) {
        sequence *victim = scheduler->running[i];
        if (victim != taker && victim->request->client != taker->request->client && is_stuck(engine, victim))
            return victim;
    }
    sequence *last = scheduler->running_count > 0 ? scheduler->running[scheduler->running_count - 1] : NULL;
    if (!last || last == taker || !sequence_before(taker, last))
        return NULL;
    if (taker->state != SEQUENCE_RUNNING && last->request->priority <= taker->request->priority)
        return NULL;
    return last;
}

/* Distinct tokens that the sampler is told for a row, at most. */
static uint64_t seen_tokens(const tn_engine *engine, const sequence *sequence)
{
    uint64_t most = (uint64_t)sequence->request->seen_count + sequence->seen_count;
    return most < engine->limits.vocab ? most : engine->limits.vocab;
}

static void plan_share(tn_engine *engine, schedule *schedule, budget *left, sequence *sequence, bool may_preempt)
{
    uint32_t need = sequence_target(sequence) - sequence->computed;
    uint32_t room = client_room(sequence->request->client);
    uint32_t outputs = room < left->outputs ? room : left->outputs;
    scheduled item = share_of(sequence, need < left->tokens ? need : left->tokens, outputs);
    uint64_t deltas = page_table_untold(&engine->pages, sequence->slot, item.start + item.count);
    uint64_t seen = seen_tokens(engine, sequence);
    uint32_t fits;

    if (item.count == 0 || deltas > left->deltas || seen > left->seen)
        return;
    while ((fits = page_table_fit(&engine->pages, sequence->slot, item.start, item.count)) == 0) {
        struct sequence *victim = may_preempt ? victim_for(engine, sequence) : NULL;
        if (!victim)
            return;
        preempt(engine, schedule, left, victim);
    }
    if (fits < item.count)
        item = share_of(sequence, fits, outputs);
    page_table_extend(&engine->pages, sequence->slot, item.start + item.count);
    sequence->request->client->reserved += item.score_count + item.samples;
    left->tokens -= item.count;
    left->outputs -= item.score_count + item.samples;
    left->deltas -= deltas;
    left->seen -= seen;
    schedule->item[schedule->count++] = item;
}

/* With a token still being sampled, the next row can be planned only if nothing needs to know that token. */
static bool can_run_ahead(const sequence *sequence)
{
    const request *request = sequence->request;
    return sequence->pending == 0 ||
           (!request->penalised && !request->grammar && sequence->generated + sequence->pending < request->max_new);
}

/* One pass over the running sequences: those that need one row, or those that need more. */
static void plan_running(tn_engine *engine, schedule *schedule, budget *left, bool single, bool only_running)
{
    scheduler *scheduler = &engine->scheduler;
    uint32_t count = scheduler->running_count;

    memcpy(scheduler->snapshot, scheduler->running, count * sizeof *scheduler->running);
    for (uint32_t i = 0; i < count && left->tokens > 0; i++) {
        sequence *sequence = scheduler->snapshot[i];
        if (sequence->state != SEQUENCE_RUNNING || !can_run_ahead(sequence))
            continue; /* preempted by one before it; or waits for its token */
        uint32_t need = sequence_target(sequence) - sequence->computed;
        if (need > 0 && (need == 1) == single && has_room(engine, sequence))
            plan_share(engine, schedule, left, sequence, !only_running);
    }
}

/* ---- admission ---- */

/* Slots that must be free to admit a sequence. Choices without a slot when their prompt is ready find it in the cache
 * later; if they could not, as many as there can be have to wait for their slots now. */
static uint32_t slots_needed(const tn_engine *engine, const sequence *sequence)
{
    uint32_t choices = sequence->request->choice_count;
    if (!is_unforked(sequence) || sequence->request->reads_cache)
        return 1;
    return choices < engine->scheduler.slot_count ? choices : engine->scheduler.slot_count;
}

/* Sets slots aside for the siblings of a first choice. */
static void reserve_slots(scheduler *scheduler, request *request)
{
    for (uint32_t i = 1; i < request->choice_count; i++) {
        request->sequence[i].state = SEQUENCE_FORKING;
        if (scheduler->free_slot_count > 0)
            take_slot(scheduler, &request->sequence[i]);
    }
}

/* Takes over the cached prefix; at least the last token is left to compute, since its logits are wanted. */
static void adopt_prefix(tn_engine *engine, sequence *sequence)
{
    uint32_t target = sequence_target(sequence);
    uint32_t blocks = 0;

    if (sequence->request->reads_cache && target > engine->cache.block_tokens) {
        uint32_t most = (target - 1) / engine->cache.block_tokens;
        sequence_block_hash(sequence, &engine->cache, most - 1);
        blocks = prefix_cache_match(&engine->cache, sequence->block_hash, most);
        page_table_adopt(&engine->pages, sequence->slot, sequence->block_hash, blocks);
    }
    sequence->computed = blocks * engine->cache.block_tokens;
    sequence->published = blocks;
}

void scheduler_accept(tn_engine *engine, const sequence *sequence)
{
    request *request = sequence->request;
    if (request->accepted)
        return;
    request->accepted = true;
    request->accepted_ns = stats_now_ns();
    request->cached_tokens = sequence->computed;
    request->accepted_event.event = (tn_event){
        .kind = TN_EVENT_ACCEPTED,
        .request = request->id,
        .user = request->user,
        .text = "",
        .seed = request->seed,
        .prompt_tokens = request->prompt_count,
        .cached_tokens = request->cached_tokens,
    };
    atomic_fetch_sub(&engine->waiting_count, 1);
    stats_add(&engine->stats, STATS_PROMPT_TOTAL, request->prompt_count);
    if (request->reads_cache) {
        stats_add(&engine->stats, STATS_CACHE_QUERIES, request->prompt_count);
        stats_add(&engine->stats, STATS_CACHE_HITS, request->cached_tokens);
    }
    stats_observe_ns(&engine->stats, STATS_QUEUE_TIME, request->accepted_ns - request->submitted_ns);
    client_push(request->client, &request->accepted_event);
}

/* Gives a waiting sequence a slot and, if it can be held to the end of what is known, its cached pages. */
static bool admit(tn_engine *engine, schedule *schedule, budget *left, sequence *sequence)
{
    scheduler *scheduler = &engine->scheduler;
    uint32_t slots = slots_needed(engine, sequence);
    struct sequence *victim;

    while (scheduler->free_slot_count < slots) {
        victim = victim_for(engine, sequence);
        if (!victim)
            return false;
        preempt(engine, schedule, left, victim);
    }
    dequeue(scheduler, sequence);
    take_slot(scheduler, sequence);
    adopt_prefix(engine, sequence);
    while (!page_table_room(&engine->pages, sequence->slot, sequence_target(sequence),
                            engine->config.max_num_batched_tokens)) {
        victim = victim_for(engine, sequence);
        if (!victim) {
            page_table_release(&engine->pages, sequence->slot);
            give_slot(scheduler, sequence);
            sequence->computed = sequence->published = 0;
            scheduler_enqueue(engine, sequence);
            return false;
        }
        preempt(engine, schedule, left, victim);
    }
    if (is_unforked(sequence))
        reserve_slots(scheduler, sequence->request);
    run(scheduler, sequence);
    scheduler_accept(engine, sequence);
    return true;
}

static void plan_waiting(tn_engine *engine, schedule *schedule, budget *left)
{
    sequence *next;
    for (sequence *sequence = engine->scheduler.waiting_head; sequence && left->tokens > 0; sequence = next) {
        next = sequence->next;
        if (!has_room(engine, sequence))
            continue;
        if (!admit(engine, schedule, left, sequence)) {
            engine->scheduler.blocked = true;
            return; /* strictly in order: nothing smaller slips past the first that does not fit */
        }
        plan_share(engine, schedule, left, sequence, false);
    }
}

bool scheduler_has_candidate(const tn_engine *engine)
{
    const scheduler *scheduler = &engine->scheduler;
    for (const sequence *at = scheduler->waiting_head; at; at = at->next)
        if (client_room(at->request->client) > 0) /* a client may have become stuck since the first was blocked */
            return victim_for(engine, at) != NULL ||
                   (!scheduler->blocked && scheduler->free_slot_count >= slots_needed(engine, at));
    return false;
}

void scheduler_plan(tn_engine *engine, schedule *schedule, bool only_running)
{
    budget left = {engine->row_limit, engine->config.max_outputs, engine->pages.delta_capacity,
                   engine->builder.seen_capacity};

    schedule->count = schedule->token_count = schedule->out_count = 0;
    plan_running(engine, schedule, &left, true, only_running);
    plan_running(engine, schedule, &left, false, only_running);
    if (!only_running)
        plan_waiting(engine, schedule, &left);
    for (uint32_t i = 0; i < schedule->count; i++) {
        scheduled *item = &schedule->item[i];
        item->out_first = schedule->out_count;
        schedule->token_count += item->count;
        schedule->out_count += item->score_count + item->samples;
    }
}

void scheduler_abandon(tn_engine *engine, const schedule *schedule)
{
    for (uint32_t i = 0; i < schedule->count; i++) {
        const scheduled *item = &schedule->item[i];
        item->sequence->request->client->reserved -= item->score_count + item->samples;
        page_table_retell(&engine->pages, item->sequence->slot);
    }
}

/* ---- fork ---- */

uint32_t scheduler_fork_point(const tn_engine *engine, const request *request)
{
    uint32_t tokens = request->prompt_count - 1;
    if (engine->backend->kv_copy)
        return tokens;
    return engine->common_tokens > 0 ? tokens - tokens % engine->common_tokens : 0;
}

/* Shares the prompt's pages with one sibling, whose slot is reserved, and lets it run; *ret_shared: false if pages are
 * short. The last token of the prompt stays to be computed by each, who samples from its row with its own key. */
static tn_status fork_one(tn_engine *engine, sequence *first, sequence *sibling, bool *ret_shared, tn_error *err)
{
    page_table *pages = &engine->pages;
    tn_kvmove *move = engine->scheduler.move;
    uint32_t tokens = scheduler_fork_point(engine, first->request);

    *ret_shared = page_table_fork(pages, first->slot, sibling->slot, tokens, move);
    if (!*ret_shared)
        return TN_OK;
    sibling->computed = tokens;
    sibling->published = engine->cache.block_tokens > 0 ? tokens / engine->cache.block_tokens : 0;
    run(&engine->scheduler, sibling);
    for (uint32_t g = 0; g < pages->group_count; g++) {
        if (move[g].src == KV_PAGE_NONE)
            continue;
        tn_status status = engine->backend->kv_copy(engine->model, g, &move[g], 1, err);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

tn_status scheduler_fork(tn_engine *engine, sequence *first, tn_error *err)
{
    request *request = first->request;

    request->forked = true;
    for (uint32_t i = 1; i < request->choice_count; i++) {
        sequence *sibling = &request->sequence[i];
        bool shared = false;
        tn_status status = TN_OK;

        TN_ASSERT(sibling->state == SEQUENCE_FORKING);
        if (sibling->slot != SLOT_NONE)
            status = fork_one(engine, first, sibling, &shared, err);
        if (status != TN_OK)
            return status;
        if (shared)
            continue;
        if (sibling->slot != SLOT_NONE)
            give_slot(&engine->scheduler, sibling);
        scheduler_enqueue(engine, sibling);
    }
    return TN_OK;
}
