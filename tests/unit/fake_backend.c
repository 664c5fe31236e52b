/* fake_backend.c: executes a step inside submit and hands its results out in wait, in order. */
#include "fake_backend.h"

#include "base/sampler.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define FAULT(model, ...)                                                \
    do {                                                                 \
        if (!(model)->fault[0])                                          \
            snprintf((model)->fault, sizeof(model)->fault, __VA_ARGS__); \
    } while (0)

/* ---- the model ---- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t fake_chain(uint64_t before, int32_t token, uint32_t position)
{
    return mix(before * 31 + mix((uint64_t)(uint32_t)token << 32 | position) + 1);
}

void fake_logits(uint64_t chain, float *logits)
{
    for (uint32_t i = 0; i < FAKE_VOCAB; i++)
        logits[i] = (float)(mix(chain + i * 0x9e3779b97f4a7c15u) >> 40) / (float)(1 << 21) - 4.0f;
}

fake_model *fake_model_create(uint32_t group_count, const uint32_t *page_tokens, const uint32_t *window,
                              const uint64_t *pages, uint32_t max_seqs, uint32_t max_tokens, uint32_t max_outputs,
                              uint32_t max_model_len)
{
    fake_model *model = calloc(1, sizeof *model);
    TN_ASSERT(model);
    model->group_count = group_count;
    model->max_seqs = max_seqs;
    model->max_tokens = max_tokens;
    model->max_outputs = max_outputs;
    model->max_model_len = max_model_len;
    model->can = fake_backend.can;
    atomic_store(&model->nan_token, -1);
    for (uint32_t g = 0; g < group_count; g++) {
        fake_group *group = &model->group[g];
        group->page_tokens = page_tokens[g];
        group->window = window[g];
        group->pages = (uint32_t)pages[g];
        group->row_pages = (max_model_len + page_tokens[g] - 1) / page_tokens[g];
        group->cell = calloc((size_t)group->pages * page_tokens[g], sizeof *group->cell);
        group->table = calloc((size_t)max_seqs * group->row_pages, sizeof *group->table);
        group->writer = calloc(group->pages, sizeof *group->writer);
        group->writer_step = calloc(group->pages, sizeof *group->writer_step);
        TN_ASSERT(group->cell && group->table && group->writer && group->writer_step);
        memset(group->table, 0xff, (size_t)max_seqs * group->row_pages * sizeof *group->table);
        for (uint32_t i = 0; i < group->pages * page_tokens[g]; i++)
            group->cell[i].position = -1;
    }
    for (uint32_t i = 0; i < FAKE_TICKETS; i++) {
        fake_ticket *ticket = &model->ticket[i];
        ticket->out_id = calloc(max_outputs, sizeof *ticket->out_id);
        ticket->want = calloc(max_outputs, sizeof *ticket->want);
        ticket->logprob = calloc(max_outputs, sizeof *ticket->logprob);
        ticket->target_logprob = calloc(max_outputs, sizeof *ticket->target_logprob);
        ticket->top_id = calloc((size_t)max_outputs * FAKE_VOCAB, sizeof *ticket->top_id);
        ticket->top_logprob = calloc((size_t)max_outputs * FAKE_VOCAB, sizeof *ticket->top_logprob);
        TN_ASSERT(ticket->out_id && ticket->want && ticket->logprob && ticket->target_logprob && ticket->top_id &&
                  ticket->top_logprob);
    }
    return model;
}

void fake_model_destroy(fake_model *model)
{
    for (uint32_t g = 0; g < model->group_count; g++) {
        free(model->group[g].cell);
        free(model->group[g].table);
        free(model->group[g].writer);
        free(model->group[g].writer_step);
    }
    for (uint32_t i = 0; i < FAKE_TICKETS; i++) {
        free(model->ticket[i].out_id);
        free(model->ticket[i].want);
        free(model->ticket[i].logprob);
        free(model->ticket[i].target_logprob);
        free(model->ticket[i].top_id);
        free(model->ticket[i].top_logprob);
    }
    free(model);
}

static tn_status graph_group(const tn_graph *graph, uint32_t index, tn_kv_group *ret_group)
{
    const fake_model *model = (const fake_model *)graph;
    if (index >= model->group_count)
        return TN_E_NOT_FOUND;
    ret_group->window = model->group[index].window;
    ret_group->kind = ret_group->window > 0 ? TN_KV_WINDOW : TN_KV_FULL;
    return TN_OK;
}

tn_graph_api fake_graph_api_of(const fake_model *model)
{
    return (tn_graph_api){
        .struct_size = sizeof(tn_graph_api),
        .kv_group_count = model->group_count,
        .vocab_size = FAKE_VOCAB,
        .kv_group = graph_group,
    };
}

/* ---- a step ---- */

static fake_cell *cell_at(fake_model *model, uint32_t g, uint32_t slot, uint32_t position)
{
    fake_group *group = &model->group[g];
    uint32_t index = position / group->page_tokens;
    uint32_t page = group->table[(size_t)slot * group->row_pages + index];

    if (page >= group->pages) {
        FAULT(model, "group %u slot %u position %u: no page was ever told", g, slot, position);
        page = 0;
    }
    return &group->cell[(size_t)page * group->page_tokens + position % group->page_tokens];
}

static void check_shape(fake_model *model, const tn_batch *batch)
{
    bool used[4096] = {false};
    if (batch->token_count == 0 || batch->token_count > model->max_tokens)
        FAULT(model, "batch of %u rows, at most %u", batch->token_count, model->max_tokens);
    if (batch->seq_count == 0 || batch->seq_count > model->max_seqs || batch->out_count > model->max_outputs)
        FAULT(model, "batch of %u sequences and %u outputs", batch->seq_count, batch->out_count);
    if (batch->need & ~model->can)
        FAULT(model, "batch needs %#x, the backend can %#x", batch->need, model->can);
    if (batch->seq_start[0] != 0 || batch->seq_start[batch->seq_count] != batch->token_count)
        FAULT(model, "seq_start does not cover the rows");
    for (uint32_t s = 0; s < batch->seq_count; s++) {
        uint32_t first = batch->seq_start[s], end = batch->seq_start[s + 1];
        if (end <= first || batch->slot[s] >= model->max_seqs || used[batch->slot[s]])
            FAULT(model, "sequence %u: empty, or slot %u is out of range or used twice", s, batch->slot[s]);
        used[batch->slot[s]] = true;
        if (batch->position[first] != (int32_t)batch->cached_len[s])
            FAULT(model, "sequence %u: cached_len is not the first position", s);
        for (uint32_t i = first; i < end; i++)
            if (batch->position[i] != batch->position[first] + (int32_t)(i - first) ||
                batch->position[i] >= (int32_t)model->max_model_len)
                FAULT(model, "sequence %u: positions do not follow each other", s);
    }
    for (uint32_t i = 1; i < batch->out_count; i++)
        if (batch->out_row[i] <= batch->out_row[i - 1])
            FAULT(model, "out_row does not ascend");
}

static void apply_deltas(fake_model *model, const tn_batch *batch)
{
    for (uint32_t i = 0; i < batch->delta_count; i++) {
        uint32_t g = batch->delta_group[i];
        fake_group *group = &model->group[g];
        if (g >= model->group_count || batch->delta_slot[i] >= model->max_seqs ||
            batch->delta_index[i] >= group->row_pages || batch->delta_page[i] >= group->pages) {
            FAULT(model, "delta %u is out of range", i);
            continue;
        }
        group->table[(size_t)batch->delta_slot[i] * group->row_pages + batch->delta_index[i]] = batch->delta_page[i];
    }
}

static void write_row(fake_model *model, uint32_t slot, uint32_t position, int32_t token)
{
    uint32_t step = (uint32_t)model->submitted + 1;
    for (uint32_t g = 0; g < model->group_count; g++) {
        fake_group *group = &model->group[g];
        uint64_t before = position > 0 ? cell_at(model, g, slot, position - 1)->chain : 0;
        if (position > 0 && cell_at(model, g, slot, position - 1)->position != (int32_t)position - 1)
            FAULT(model, "group %u slot %u: position %u is not in KV", g, slot, position - 1);
        uint32_t page = group->table[(size_t)slot * group->row_pages + position / group->page_tokens];
        if (page < group->pages) {
            if (group->writer_step[page] == step && group->writer[page] != slot + 1)
                FAULT(model, "group %u page %u is written by two sequences", g, page);
            group->writer[page] = slot + 1;
            group->writer_step[page] = step;
        }
        *cell_at(model, g, slot, position) = (fake_cell){fake_chain(before, token, position), token, (int32_t)position};
    }
}

/* Every cell that attention at `position` reads must be that of this sequence. */
static uint64_t read_history(fake_model *model, uint32_t slot, uint32_t position)
{
    uint64_t last = cell_at(model, 0, slot, position)->chain;
    for (uint32_t g = 0; g < model->group_count; g++) {
        uint32_t window = model->group[g].window;
        uint32_t first = window > 0 && position + 1 > window ? position + 1 - window : 0;
        for (uint32_t p = first; p <= position; p++) {
            const fake_cell *cell = cell_at(model, g, slot, p);
            uint64_t before = p > first ? cell_at(model, g, slot, p - 1)->chain : 0;
            if (cell->position != (int32_t)p ||
                ((p > first || p == 0) && cell->chain != fake_chain(before, cell->token, p)))
                FAULT(model, "group %u slot %u: position %u read at %u belongs to something else", g, slot, p,
                      position);
        }
        if (cell_at(model, g, slot, position)->chain != last)
            FAULT(model, "slot %u: groups disagree at position %u", slot, position);
    }
    return last;
}

static void output_row(fake_model *model, const tn_batch *batch, uint32_t row, uint32_t slot, fake_ticket *ticket)
{
    char scratch[1 << 16] __attribute__((aligned(64)));
    float logits[FAKE_VOCAB];
    uint32_t position = (uint32_t)batch->position[batch->out_row[row]];
    tn_result result = {.struct_size = sizeof result,
                        .out_count = ticket->out_count,
                        .id = ticket->out_id,
                        .logprob = ticket->logprob,
                        .target_logprob = ticket->target_logprob,
                        .top_id = ticket->top_id,
                        .top_logprob = ticket->top_logprob};

    TN_ASSERT(sampler_scratch_bytes(FAKE_VOCAB) <= sizeof scratch);
    fake_logits(read_history(model, slot, position), logits);
    uint32_t at = position + 1 - model->script_from;
    if (model->script && position + 1 >= model->script_from && at < model->script_count)
        logits[model->script[at]] += 100;
    if (cell_at(model, 0, slot, position)->token == atomic_load(&model->nan_token))
        logits[FAKE_VOCAB / 2] = NAN;
    sampler_row(batch->sample, row, position + 1, batch->out_want[row], logits, FAKE_VOCAB, scratch, &result);
}

static int32_t resolve_token(fake_model *model, const tn_batch *batch, uint32_t row)
{
    int32_t token = batch->token[row];
    if (token >= 0 && token < FAKE_VOCAB)
        return token;
    const fake_ticket *prev = &model->ticket[batch->prev % FAKE_TICKETS];
    if (token >= 0 || !(batch->need & TN_NEED_PREV) || prev->id != batch->prev ||
        (uint32_t)(-1 - token) >= prev->out_count) {
        FAULT(model, "row %u: token %d points nowhere", row, token);
        return 0;
    }
    token = prev->out_id[-1 - token];
    return token < 0 ? 0 : token;
}

static void run_step(fake_model *model, const tn_batch *batch, fake_ticket *ticket)
{
    uint32_t out = 0;
    check_shape(model, batch);
    apply_deltas(model, batch);
    for (uint32_t s = 0; s < batch->seq_count; s++)
        for (uint32_t i = batch->seq_start[s]; i < batch->seq_start[s + 1]; i++)
            write_row(model, batch->slot[s], (uint32_t)batch->position[i], resolve_token(model, batch, i));
    for (uint32_t s = 0; s < batch->seq_count; s++)
        for (; out < batch->out_count && batch->out_row[out] < batch->seq_start[s + 1]; out++)
            output_row(model, batch, out, batch->slot[s], ticket);
    if (out != batch->out_count)
        FAULT(model, "an output row lies outside the batch");
}

static void count_step(fake_model *model, const tn_batch *batch)
{
    atomic_fetch_add(&model->steps, 1);
    atomic_fetch_add(&model->rows, batch->token_count);
    if (batch->token_count > atomic_load(&model->largest_batch))
        atomic_store(&model->largest_batch, batch->token_count);
    if (batch->seq_count > atomic_load(&model->most_seqs))
        atomic_store(&model->most_seqs, batch->seq_count);
}

/* ---- the table ---- */

static tn_status submit(tn_model *opaque, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    fake_model *model = (fake_model *)opaque;
    if (model->in_engine_memory_limit > 0 && batch->token_count > model->in_engine_memory_limit)
        return tn_fail(err, TN_E_MEMORY, "no memory for %u rows", batch->token_count);
    fake_ticket *ticket = &model->ticket[(model->submitted + 1) % FAKE_TICKETS];
    ticket->id = model->submitted + 1;
    ticket->out_count = batch->out_count;
    ticket->top_logprobs = batch->sample ? batch->sample->top_logprobs : 0;
    memcpy(ticket->want, batch->out_want, batch->out_count * sizeof *ticket->want);
    run_step(model, batch, ticket);
    count_step(model, batch);
    *ret_ticket = ++model->submitted;
    return TN_OK;
}

static void copy_results(fake_model *model, const fake_ticket *ticket, tn_result *result)
{
    uint32_t k = ticket->top_logprobs;
    if (result->out_count < ticket->out_count)
        FAULT(model, "room for %u of %u results", result->out_count, ticket->out_count);
    for (uint32_t i = 0; i < ticket->out_count; i++) {
        uint32_t want = ticket->want[i];
        result->id[i] = ticket->out_id[i];
        if (want & TN_WANT_LOGPROB)
            result->logprob[i] = ticket->logprob[i];
        if (want & TN_WANT_TARGET)
            result->target_logprob[i] = ticket->target_logprob[i];
        if (want & TN_WANT_TOP) {
            memcpy(result->top_id + (size_t)i * k, ticket->top_id + (size_t)i * k, k * sizeof *result->top_id);
            memcpy(result->top_logprob + (size_t)i * k, ticket->top_logprob + (size_t)i * k,
                   k * sizeof *result->top_logprob);
        }
    }
}

static tn_status wait_ticket(tn_model *opaque, uint64_t id, tn_result *result, tn_error *err)
{
    fake_model *model = (fake_model *)opaque;
    if (id != model->waited + 1)
        FAULT(model, "ticket %llu is waited for out of order", (unsigned long long)id);
    model->waited++;
    if (atomic_load(&model->step_us) > 0)
        usleep(atomic_load(&model->step_us));
    while (atomic_load(&model->hang))
        usleep(1000);
    if ((uint64_t)atomic_load(&model->fail_at) == id)
        return tn_fail(err, TN_E_DEVICE_LOST, "the fake device fell off the bus");
    copy_results(model, &model->ticket[id % FAKE_TICKETS], result);
    return TN_OK;
}

static tn_status copy_pages(tn_model *opaque, uint32_t g, const tn_kvmove *moves, uint32_t count, tn_error *err)
{
    fake_model *model = (fake_model *)opaque;
    fake_group *group = &model->group[g];
    (void)err;
    for (uint32_t i = 0; i < count; i++) {
        if (moves[i].src >= group->pages || moves[i].dst >= group->pages || moves[i].src == moves[i].dst) {
            FAULT(model, "copy of page %u to %u", moves[i].src, moves[i].dst);
            continue;
        }
        memcpy(group->cell + (size_t)moves[i].dst * group->page_tokens,
               group->cell + (size_t)moves[i].src * group->page_tokens, group->page_tokens * sizeof *group->cell);
        atomic_fetch_add(&model->copies, 1);
    }
    return TN_OK;
}

enum { CAN = TN_NEED_MASK | TN_NEED_SCORE | TN_NEED_PENALTY | TN_NEED_BIAS | TN_NEED_PREV };

const tn_backend fake_backend = {
    .struct_size = sizeof(tn_backend),
    .can = CAN,
    .max_in_flight = 1,
    .submit = submit,
    .wait = wait_ticket,
    .kv_copy = copy_pages,
};
const tn_backend fake_backend_ahead = {
    .struct_size = sizeof(tn_backend),
    .can = CAN,
    .max_in_flight = 2,
    .submit = submit,
    .wait = wait_ticket,
    .kv_copy = copy_pages,
};
const tn_backend fake_backend_no_copy = {
    .struct_size = sizeof(tn_backend),
    .can = CAN,
    .max_in_flight = 1,
    .submit = submit,
    .wait = wait_ticket,
};

/* ---- the tokenizer ---- */

static const char *const words[] = {"stop", " hello", "st",   "op",  "the end", "\xF0\x9F", "\x98\x80",
                                    "\xC3", "\xA9",   "\xFF", "abc", "bcd",     "END",      "\xE2\x82\xAC"};
enum { WORDS = sizeof words / sizeof words[0] };

const char *fake_word(int32_t token)
{
    return token >= FAKE_WORD && token < FAKE_WORD + WORDS ? words[token - FAKE_WORD] : "";
}

static uint32_t tok_vocab_size(const tn_tok *tok)
{
    (void)tok;
    return FAKE_VOCAB - 4; /* the model's output matrix is padded */
}

static tn_status tok_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes,
                           uint64_t *n_bytes, tn_error *err)
{
    char one[2] = {0};
    const char *text = one;
    uint64_t n = 1, capacity = *n_bytes;
    (void)tok;
    (void)first;
    if (id < 0 || id >= FAKE_VOCAB - 4)
        return tn_fail(err, TN_E_ARGUMENT, "token %d", id);
    if (id < FAKE_BYTE) {
        text = id == FAKE_EOS ? "</s>" : "<s>";
        n = flags & TN_PIECE_SKIP_SPECIAL ? 0 : strlen(text);
    } else if (id < FAKE_WORD) {
        one[0] = (char)(id - FAKE_BYTE);
    } else {
        text = fake_word(id);
        n = strlen(text);
    }
    *n_bytes = n;
    if (n > capacity)
        return TN_E_MEMORY;
    if (n > 0)
        memcpy(bytes, text, n);
    return TN_OK;
}

static uint32_t tok_attributes(const tn_tok *tok, int32_t id)
{
    (void)tok;
    return id == FAKE_EOS ? TN_TOKEN_IS_SPECIAL | TN_TOKEN_ENDS_GENERATION : id == FAKE_BOS ? TN_TOKEN_IS_SPECIAL : 0;
}

const tn_tokenizer_table fake_tokenizer = {
    .struct_size = sizeof(tn_tokenizer_table),
    .vocab_size = tok_vocab_size,
    .piece = tok_piece,
    .attributes = tok_attributes,
};
