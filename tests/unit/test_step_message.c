/* test_step_message.c: batches on their way to workers, at odd sizes and with any of their arrays; and bytes that lie.
 */
#include "cmocka_test.h"

#include "workers/step_message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 61, SEQS = 13, OUTS = 17, DELTAS = 29, LISTED = 40, VOCAB = 77, WIDTH = 5, AXES = 3, MASK_WORDS = 3 };

static const step_shape shape = {
    .vocab = VOCAB, .width = WIDTH, .max_tokens = TOKENS, .max_seqs = SEQS, .max_outputs = OUTS, .kv_groups = 2};

/* ---- batches ---- */

typedef struct rig {
    uint32_t seed;
    int32_t token[TOKENS], position[TOKENS * AXES], bias_token[LISTED], seen_token[LISTED], score_target[OUTS];
    uint32_t seq_start[SEQS + 1], slot[SEQS], cached_len[SEQS], adapter[SEQS];
    uint32_t delta_group[DELTAS], delta_slot[DELTAS], delta_index[DELTAS], delta_page[DELTAS];
    uint32_t out_row[OUTS], out_want[OUTS], top_k[OUTS], choice[OUTS], mask[OUTS * MASK_WORDS];
    uint32_t bias_row[OUTS + 1], seen_row[OUTS + 1], seen_count[LISTED];
    uint64_t rng_seed[OUTS];
    float embed[TOKENS * WIDTH], bias_value[LISTED], floats[6][OUTS];
    tn_batch batch;
    tn_sample sample;
} rig;

static uint32_t draw(rig *r, uint32_t limit)
{
    r->seed = r->seed * 1664525u + 1013904223u;
    return (r->seed >> 8) % limit;
}

static void fill_below(rig *r, uint32_t *values, uint32_t count, uint32_t limit)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = draw(r, limit);
}

static void fill_bytes(rig *r, void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)draw(r, 256);
}

/* count + 1 starts from 0 to end. */
static void fill_starts(rig *r, uint32_t *start, uint32_t count, uint32_t end)
{
    start[0] = 0;
    for (uint32_t i = 1; i < count; i++)
        start[i] = start[i - 1] + draw(r, end - start[i - 1] + 1);
    start[count] = count ? end : 0;
}

static void make_sample(rig *r)
{
    const float **of[] = {&r->sample.temperature, &r->sample.top_p,    &r->sample.min_p,
                          &r->sample.repetition,  &r->sample.presence, &r->sample.frequency};
    const uint32_t outs = r->batch.out_count;

    r->sample = (tn_sample){.struct_size = sizeof r->sample, .top_logprobs = draw(r, 20)};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        *of[i] = draw(r, 2) ? r->floats[i] : NULL;
    r->sample.top_k = draw(r, 2) ? r->top_k : NULL;
    r->sample.choice = draw(r, 2) ? r->choice : NULL;
    r->sample.seed = draw(r, 2) ? r->rng_seed : NULL;
    r->sample.mask = draw(r, 2) ? r->mask : NULL;
    r->sample.score_target = draw(r, 2) ? r->score_target : NULL;
    if (draw(r, 2)) {
        fill_starts(r, r->bias_row, outs, draw(r, LISTED));
        r->sample.bias_row = r->bias_row;
        r->sample.bias_token = r->bias_token;
        r->sample.bias_value = r->bias_value;
    }
    if (draw(r, 2)) {
        fill_starts(r, r->seen_row, outs, draw(r, LISTED));
        r->sample.seen_row = r->seen_row;
        r->sample.seen_token = r->seen_token;
        r->sample.seen_count = r->seen_count;
    }
    r->batch.sample = &r->sample;
}

/* Any batch that an engine could make, with any of what is optional. */
static void make_batch(rig *r, uint32_t seed)
{
    memset(r, 0, sizeof *r);
    r->seed = seed;
    fill_bytes(r, r->token, sizeof *r - offsetof(rig, token) - sizeof r->batch - sizeof r->sample);
    const uint32_t seqs = draw(r, SEQS + 1), tokens = seqs ? seqs + draw(r, TOKENS - SEQS + 1) : 0;
    const uint32_t outs = tokens ? draw(r, OUTS + 1) : 0, deltas = draw(r, DELTAS + 1), axes = 1 + draw(r, AXES);

    fill_starts(r, r->seq_start, seqs, tokens);
    fill_below(r, r->slot, seqs, SEQS);
    fill_below(r, r->delta_group, deltas, shape.kv_groups);
    fill_below(r, r->delta_slot, deltas, SEQS);
    if (tokens)
        fill_below(r, r->out_row, outs, tokens);
    r->batch = (tn_batch){.struct_size = sizeof r->batch,
                          .need = draw(r, 1 << 10),
                          .token_count = tokens,
                          .seq_count = seqs,
                          .out_count = outs,
                          .delta_count = deltas,
                          .axis_count = axes,
                          .token = r->token,
                          .position = r->position,
                          .seq_start = r->seq_start,
                          .slot = r->slot,
                          .cached_len = r->cached_len,
                          .adapter = draw(r, 2) ? r->adapter : NULL,
                          .embed = draw(r, 2) ? r->embed : NULL,
                          .delta_group = r->delta_group,
                          .delta_slot = r->delta_slot,
                          .delta_index = r->delta_index,
                          .delta_page = r->delta_page,
                          .out_row = r->out_row,
                          .out_want = r->out_want};
    if (draw(r, 4))
        make_sample(r);
}

static void same_bytes(const void *a, const void *b, size_t n)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a && n)
        assert_memory_equal(a, b, n);
}

#define SAME(a, b, field, count) same_bytes((a)->field, (b)->field, (count) * sizeof *(a)->field)

static void check_sample(const tn_sample *a, const tn_sample *b, size_t outs)
{
    const size_t biases = a->bias_row ? a->bias_row[outs] : 0, seen = a->seen_row ? a->seen_row[outs] : 0;

    assert_int_equal(b->struct_size, sizeof *b);
    assert_int_equal(a->top_logprobs, b->top_logprobs);
    SAME(a, b, temperature, outs);
    SAME(a, b, top_p, outs);
    SAME(a, b, min_p, outs);
    SAME(a, b, repetition, outs);
    SAME(a, b, presence, outs);
    SAME(a, b, frequency, outs);
    SAME(a, b, top_k, outs);
    SAME(a, b, choice, outs);
    SAME(a, b, seed, outs);
    SAME(a, b, mask, outs * MASK_WORDS);
    SAME(a, b, bias_row, outs + 1);
    SAME(a, b, bias_token, biases);
    SAME(a, b, bias_value, biases);
    SAME(a, b, seen_row, outs + 1);
    SAME(a, b, seen_token, seen);
    SAME(a, b, seen_count, seen);
    SAME(a, b, score_target, outs);
}

static void check_batch(const tn_batch *a, const tn_batch *b)
{
    assert_int_equal(b->struct_size, sizeof *b);
    assert_int_equal(a->need, b->need);
    assert_int_equal(b->prev, 0);
    assert_int_equal(a->token_count, b->token_count);
    assert_int_equal(a->seq_count, b->seq_count);
    assert_int_equal(a->out_count, b->out_count);
    assert_int_equal(a->delta_count, b->delta_count);
    assert_int_equal(a->axis_count, b->axis_count);
    SAME(a, b, token, a->token_count);
    SAME(a, b, position, (size_t)a->token_count * a->axis_count);
    SAME(a, b, seq_start, a->seq_count + 1ull);
    SAME(a, b, slot, a->seq_count);
    SAME(a, b, cached_len, a->seq_count);
    SAME(a, b, adapter, a->seq_count);
    SAME(a, b, embed, (size_t)a->token_count * WIDTH);
    SAME(a, b, delta_group, a->delta_count);
    SAME(a, b, delta_slot, a->delta_count);
    SAME(a, b, delta_index, a->delta_count);
    SAME(a, b, delta_page, a->delta_count);
    SAME(a, b, out_row, a->out_count);
    SAME(a, b, out_want, a->out_count);
    assert_int_equal(a->sample == NULL, b->sample == NULL);
    if (a->sample)
        check_sample(a->sample, b->sample, a->out_count);
}

/* The payload in memory of exactly its size, so that a sanitizer sees who reads beyond. */
static uint8_t *payload_of(const step_buffer *message, uint32_t kind, size_t *ret_n)
{
    uint32_t found, bytes;
    assert_int_equal(step_message_read_head(message->bytes, &found, &bytes, NULL), TN_OK);
    assert_int_equal(found, kind);
    assert_int_equal(bytes, message->n - STEP_HEAD_BYTES);
    uint8_t *payload = malloc(bytes ? bytes : 1);
    assert_non_null(payload);
    memcpy(payload, message->bytes + STEP_HEAD_BYTES, bytes);
    *ret_n = bytes;
    return payload;
}

/* ---- whole ones ---- */

static void test_batches_come_back(void **state)
{
    static rig r;
    step_buffer out = {0};
    step_batch read;
    size_t n;

    (void)state;
    for (uint32_t seed = 1; seed <= 3000; seed++) {
        make_batch(&r, seed);
        assert_int_equal(step_message_write_batch(&out, &shape, &r.batch, seed, seed / 2, NULL), TN_OK);
        assert_int_equal(out.n % 8, 0);
        uint8_t *payload = payload_of(&out, STEP_SUBMIT, &n);
        assert_int_equal(step_message_read_batch(payload, n, &shape, &read, NULL), TN_OK);
        assert_int_equal(read.order, seed);
        assert_int_equal(read.prev_order, seed / 2);
        assert_ptr_equal(read.batch.sample, r.batch.sample ? &read.sample : NULL);
        check_batch(&r.batch, &read.batch);
        free(payload);
    }
    step_buffer_finish(&out);
}

static void test_numbers_and_moves_come_back(void **state)
{
    const tn_kvmove moves[] = {{1, 2}, {3, 4}, {0xffffffff, 0}};
    const tn_kvmove *found;
    step_buffer out = {0};
    uint8_t message[STEP_NUMBER_BYTES];
    uint32_t kind, bytes, group, count;
    uint64_t number;
    size_t n;

    (void)state;
    step_message_write_number(message, STEP_WAIT, 1ull << 40);
    assert_int_equal(step_message_read_head(message, &kind, &bytes, NULL), TN_OK);
    assert_int_equal(kind, STEP_WAIT);
    assert_int_equal(bytes, sizeof number);
    assert_int_equal(step_message_read_number(message + STEP_HEAD_BYTES, bytes, &number, NULL), TN_OK);
    assert_int_equal(number, 1ull << 40);
    assert_int_equal(step_message_read_number(message + STEP_HEAD_BYTES, bytes - 1, &number, NULL), TN_E_CORRUPT);
    for (uint32_t want = 0; want <= 3; want++) {
        assert_int_equal(step_message_write_copy(&out, 1, moves, want, NULL), TN_OK);
        uint8_t *payload = payload_of(&out, STEP_COPY, &n);
        assert_int_equal(step_message_read_copy(payload, n, &shape, &group, &found, &count, NULL), TN_OK);
        assert_int_equal(group, 1);
        assert_int_equal(count, want);
        same_bytes(moves, found, want * sizeof *moves);
        free(payload);
    }
    step_buffer_finish(&out);
}

/* ---- lies ---- */

static void test_every_cut_is_refused(void **state)
{
    static rig r;
    step_buffer out = {0};
    tn_error err;
    step_batch read;

    (void)state;
    for (uint32_t seed = 1; seed <= 40; seed++) {
        make_batch(&r, seed);
        assert_int_equal(step_message_write_batch(&out, &shape, &r.batch, 1, 0, NULL), TN_OK);
        for (size_t n = 0; n <= out.n - STEP_HEAD_BYTES + 8; n++) {
            if (n == out.n - STEP_HEAD_BYTES)
                continue;
            uint8_t *cut = calloc(1, n + 1);
            memcpy(cut, out.bytes + STEP_HEAD_BYTES, n < out.n - STEP_HEAD_BYTES ? n : out.n - STEP_HEAD_BYTES);
            err = (tn_error)TN_ERROR_INIT;
            assert_int_equal(step_message_read_batch(cut, n, &shape, &read, &err), TN_E_CORRUPT);
            assert_non_null(strstr(err.msg, "a step from rank 0 "));
            free(cut);
        }
    }
    step_buffer_finish(&out);
}

/* Each 32-bit number of a payload, made anything: what is let pass must have its arrays within the payload. */
static void test_numbers_that_lie_stay_within(void **state)
{
    static const uint32_t lies[] = {0, 1, 2, 7, TOKENS + 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    static rig r;
    step_buffer out = {0};
    uint32_t passed = 0, refused = 0;
    size_t n;

    (void)state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        make_batch(&r, seed);
        assert_int_equal(step_message_write_batch(&out, &shape, &r.batch, 1, 0, NULL), TN_OK);
        uint8_t *payload = payload_of(&out, STEP_SUBMIT, &n);
        for (size_t at = 0; at + 4 <= n; at += 4) {
            for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
                step_batch read;
                memcpy(payload + at, &lies[i], 4);
                tn_error err = TN_ERROR_INIT;
                tn_status status = step_message_read_batch(payload, n, &shape, &read, &err);
                assert_int_equal(status == TN_OK, err.msg[0] == 0);
                if (status == TN_OK)
                    check_batch(&read.batch, &read.batch); /* reads all of it */
                passed += status == TN_OK;
                refused += status != TN_OK;
            }
            memcpy(payload + at, out.bytes + STEP_HEAD_BYTES + at, 4);
        }
        free(payload);
    }
    assert_true(passed > 1000 && refused > 1000);
    step_buffer_finish(&out);
}

static void refuse(const tn_batch *batch, const step_shape *limits, const char *what)
{
    step_buffer out = {0};
    step_batch read;
    tn_error err = TN_ERROR_INIT;
    size_t n;

    assert_int_equal(step_message_write_batch(&out, &shape, batch, 1, 0, NULL), TN_OK);
    uint8_t *payload = payload_of(&out, STEP_SUBMIT, &n);
    assert_int_equal(step_message_read_batch(payload, n, limits, &read, &err), TN_E_CORRUPT);
    if (!strstr(err.msg, what))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, what);
    free(payload);
    step_buffer_finish(&out);
}

/* A batch with two rows of everything. */
static void make_plain(rig *r)
{
    memset(r, 0, sizeof *r);
    r->seq_start[1] = r->out_row[1] = 1;
    r->seq_start[2] = r->bias_row[2] = r->seen_row[1] = r->seen_row[2] = 2;
    r->sample = (tn_sample){.struct_size = sizeof r->sample,
                            .bias_row = r->bias_row,
                            .bias_token = r->bias_token,
                            .bias_value = r->bias_value,
                            .seen_row = r->seen_row,
                            .seen_token = r->seen_token,
                            .seen_count = r->seen_count};
    r->batch = (tn_batch){.struct_size = sizeof r->batch,
                          .token_count = 2,
                          .seq_count = 2,
                          .out_count = 2,
                          .delta_count = 2,
                          .axis_count = 1,
                          .token = r->token,
                          .position = r->position,
                          .seq_start = r->seq_start,
                          .slot = r->slot,
                          .cached_len = r->cached_len,
                          .delta_group = r->delta_group,
                          .delta_slot = r->delta_slot,
                          .delta_index = r->delta_index,
                          .delta_page = r->delta_page,
                          .out_row = r->out_row,
                          .out_want = r->out_want,
                          .sample = &r->sample};
}

static void test_each_lie_is_named(void **state)
{
    static rig r;
    step_shape small = shape;

    (void)state;
    make_plain(&r);
    small.max_tokens = 1;
    refuse(&r.batch, &small, "more rows than the model was compiled for");
    small = shape;
    small.max_outputs = 1;
    refuse(&r.batch, &small, "more rows");
    small = shape;
    small.max_seqs = 1;
    refuse(&r.batch, &small, "more rows");
    r.batch.axis_count = STEP_AXES_MAX + 1;
    refuse(&r.batch, &shape, "too many axes");
    make_plain(&r);
    r.seq_start[1] = 3;
    refuse(&r.batch, &shape, "sequences that do not begin and end");
    r.seq_start[1] = 1;
    r.seq_start[2] = 1;
    refuse(&r.batch, &shape, "sequences that do not begin and end");
    make_plain(&r);
    r.slot[1] = SEQS;
    refuse(&r.batch, &shape, "a slot, a group or an output row");
    make_plain(&r);
    r.delta_group[0] = shape.kv_groups;
    refuse(&r.batch, &shape, "a slot, a group or an output row");
    make_plain(&r);
    r.out_row[1] = 2;
    refuse(&r.batch, &shape, "a slot, a group or an output row");
    make_plain(&r);
    r.sample.bias_value = NULL;
    refuse(&r.batch, &shape, "one array of a list without the others");
    make_plain(&r);
    r.bias_row[0] = 1;
    refuse(&r.batch, &shape, "lists that do not begin and end");
    make_plain(&r);
    r.seen_row[1] = 3;
    refuse(&r.batch, &shape, "lists that do not begin and end");
}

static void test_heads_and_moves_that_lie(void **state)
{
    const uint32_t heads[][2] = {
        {0, 8}, {STEP_STOP + 1, 8}, {STEP_SUBMIT, STEP_PAYLOAD_MAX + 1u}, {STEP_END, UINT32_MAX}};
    const tn_kvmove *moves;
    uint32_t kind, bytes, count;

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        tn_error err = TN_ERROR_INIT;
        assert_int_equal(step_message_read_head((const uint8_t *)heads[i], &kind, &bytes, &err), TN_E_CORRUPT);
        assert_non_null(strstr(err.msg, i < 2 ? "unknown kind" : "more than"));
    }
    const struct {
        uint32_t group, count, move[2];
    } lies[] = {{2, 1, {0, 0}}, {0, 2, {0, 0}}, {0, 0, {0, 0}}, {0, UINT32_MAX, {0, 0}}, {0, 0x20000001, {0, 0}}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        _Alignas(8) uint8_t payload[sizeof *lies];
        memcpy(payload, &lies[i], sizeof payload);
        assert_int_equal(step_message_read_copy(payload, sizeof payload, &shape, &kind, &moves, &count, NULL),
                         TN_E_CORRUPT);
    }
}

/* More than a message may have, before a byte of it is read. */
static void test_a_batch_that_is_too_large_is_refused(void **state)
{
    static rig r;
    step_shape wide = shape;
    step_buffer out = {0};
    tn_error err = TN_ERROR_INIT;

    (void)state;
    make_plain(&r);
    r.batch.embed = r.embed;
    wide.width = 1 << 28;
    assert_int_equal(step_message_write_batch(&out, &wide, &r.batch, 1, 0, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "lower engine.max_num_batched_tokens"));
    assert_null(out.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_come_back),
        cmocka_unit_test(test_numbers_and_moves_come_back),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_numbers_that_lie_stay_within),
        cmocka_unit_test(test_each_lie_is_named),
        cmocka_unit_test(test_heads_and_moves_that_lie),
        cmocka_unit_test(test_a_batch_that_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
