/* step_message.c: see step_message.h. One table says which arrays a batch has and how long they are; both directions
 * walk it.
 */
#include "workers/step_message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays are sent as they lie in memory");
_Static_assert(sizeof(tn_kvmove) == 8, "moves are sent as they lie in memory");

/* ---- the table ---- */

/* What an array's length is. */
typedef enum extent {
    OF_TOKENS,
    OF_POSITIONS,  /* tokens * axes */
    OF_EMBEDDINGS, /* tokens * M */
    OF_SEQUENCES,
    OF_SEQUENCE_STARTS, /* sequences + 1 */
    OF_DELTAS,
    OF_OUTPUTS,
    OF_OUTPUT_STARTS, /* outputs + 1 */
    OF_MASKS,
    OF_BIASES,
    OF_SEEN,
    EXTENTS
} extent;

typedef enum owner { IN_BATCH, IN_SAMPLE } owner;

typedef struct array_form {
    owner owner;
    size_t offset; /* of the pointer */
    uint32_t size; /* of an element */
    extent extent;
    bool needed; /* always there; else a bit says whether */
} array_form;

#define BATCH(field, extent, needed)                                                        \
    {                                                                                       \
        IN_BATCH, offsetof(tn_batch, field), sizeof *((tn_batch *)0)->field, extent, needed \
    }
#define SAMPLE(field, extent)                                                                 \
    {                                                                                         \
        IN_SAMPLE, offsetof(tn_sample, field), sizeof *((tn_sample *)0)->field, extent, false \
    }

/* The wide ones first, so that those of 4 bytes lie close. */
static const array_form arrays[] = {
    SAMPLE(seed, OF_OUTPUTS),
    BATCH(token, OF_TOKENS, true),
    BATCH(position, OF_POSITIONS, true),
    BATCH(seq_start, OF_SEQUENCE_STARTS, true),
    BATCH(slot, OF_SEQUENCES, true),
    BATCH(cached_len, OF_SEQUENCES, true),
    BATCH(adapter, OF_SEQUENCES, false),
    BATCH(embed, OF_EMBEDDINGS, false),
    BATCH(delta_group, OF_DELTAS, true),
    BATCH(delta_slot, OF_DELTAS, true),
    BATCH(delta_index, OF_DELTAS, true),
    BATCH(delta_page, OF_DELTAS, true),
    BATCH(out_row, OF_OUTPUTS, true),
    BATCH(out_want, OF_OUTPUTS, true),
    SAMPLE(temperature, OF_OUTPUTS),
    SAMPLE(top_p, OF_OUTPUTS),
    SAMPLE(min_p, OF_OUTPUTS),
    SAMPLE(repetition, OF_OUTPUTS),
    SAMPLE(presence, OF_OUTPUTS),
    SAMPLE(frequency, OF_OUTPUTS),
    SAMPLE(top_k, OF_OUTPUTS),
    SAMPLE(choice, OF_OUTPUTS),
    SAMPLE(score_target, OF_OUTPUTS),
    SAMPLE(mask, OF_MASKS),
    SAMPLE(bias_row, OF_OUTPUT_STARTS),
    SAMPLE(bias_token, OF_BIASES),
    SAMPLE(bias_value, OF_BIASES),
    SAMPLE(seen_row, OF_OUTPUT_STARTS),
    SAMPLE(seen_token, OF_SEEN),
    SAMPLE(seen_count, OF_SEEN),
};
enum { ARRAYS = sizeof arrays / sizeof *arrays, SAMPLED = 31 /* bit of batch_head.present: there is a tn_sample */ };
_Static_assert(ARRAYS <= SAMPLED, "a bit for each array");

/* In front of a batch's arrays. */
typedef struct batch_head {
    uint64_t order, prev_order;
    uint32_t need, present; /* bit i: arrays[i] is there */
    uint32_t token_count, seq_count, out_count, delta_count, axis_count, top_logprobs;
    uint32_t bias_count, seen_count;
} batch_head;
_Static_assert(sizeof(batch_head) == 56, "sent as it lies in memory");

/* In front of moves. */
typedef struct copy_head {
    uint32_t group, count;
} copy_head;

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 7) & ~7ull;
}

/* Elements of each kind of array. Counts are 32 bits, so no product overflows. */
static void extents_of(const batch_head *head, const step_shape *shape, uint64_t ret[EXTENTS])
{
    ret[OF_TOKENS] = head->token_count;
    ret[OF_POSITIONS] = (uint64_t)head->token_count * head->axis_count;
    ret[OF_EMBEDDINGS] = (uint64_t)head->token_count * shape->width;
    ret[OF_SEQUENCES] = head->seq_count;
    ret[OF_SEQUENCE_STARTS] = head->seq_count + 1ull;
    ret[OF_DELTAS] = head->delta_count;
    ret[OF_OUTPUTS] = head->out_count;
    ret[OF_OUTPUT_STARTS] = head->out_count + 1ull;
    ret[OF_MASKS] = head->out_count * (((uint64_t)shape->vocab + 31) / 32);
    ret[OF_BIASES] = head->bias_count;
    ret[OF_SEEN] = head->seen_count;
}

/* ---- buffers ---- */

tn_status step_buffer_reserve(step_buffer *buffer, size_t n, tn_error *err)
{
    if (n <= buffer->capacity)
        return TN_OK;
    size_t capacity = buffer->capacity ? buffer->capacity : 4096;
    while (capacity < n)
        capacity *= 2;
    uint8_t *grown = realloc(buffer->bytes, capacity);
    if (!grown)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %zu bytes of a step's batch", capacity);
    buffer->bytes = grown;
    buffer->capacity = capacity;
    return TN_OK;
}

void step_buffer_finish(step_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (step_buffer){0};
}

/* Makes room for a message and writes its head. */
static tn_status begin(step_buffer *out, uint32_t kind, uint64_t payload, tn_error *err)
{
    if (payload > STEP_PAYLOAD_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "a batch of %llu bytes is too large for the processes of a group; lower "
                       "engine.max_num_batched_tokens",
                       (unsigned long long)payload);
    const uint32_t head[2] = {kind, (uint32_t)payload};
    tn_status status = step_buffer_reserve(out, STEP_HEAD_BYTES + (size_t)payload, err);
    if (status != TN_OK)
        return status;
    memcpy(out->bytes, head, sizeof head);
    out->n = sizeof head;
    return TN_OK;
}

/* bytes, padded with zeros. */
static void append(step_buffer *out, const void *bytes, uint64_t n)
{
    const uint64_t padding = round_up(n) - n;
    if (n)
        memcpy(out->bytes + out->n, bytes, (size_t)n);
    memset(out->bytes + out->n + n, 0, (size_t)padding);
    out->n += (size_t)(n + padding);
}

/* ---- writing ---- */

static const void *array_of(const tn_batch *batch, const array_form *form)
{
    const void *owner = form->owner == IN_BATCH ? (const void *)batch : batch->sample, *pointer = NULL;
    if (owner)
        memcpy(&pointer, (const char *)owner + form->offset, sizeof pointer);
    return pointer;
}

static batch_head head_of(const tn_batch *batch, uint64_t order, uint64_t prev_order)
{
    const tn_sample *sample = batch->sample;
    batch_head head = {.order = order,
                       .prev_order = prev_order,
                       .need = batch->need,
                       .present = sample ? 1u << SAMPLED : 0,
                       .token_count = batch->token_count,
                       .seq_count = batch->seq_count,
                       .out_count = batch->out_count,
                       .delta_count = batch->delta_count,
                       .axis_count = batch->axis_count,
                       .top_logprobs = sample ? sample->top_logprobs : 0};

    if (sample && sample->bias_row)
        head.bias_count = sample->bias_row[batch->out_count];
    if (sample && sample->seen_row)
        head.seen_count = sample->seen_row[batch->out_count];
    for (uint32_t i = 0; i < ARRAYS; i++)
        if (arrays[i].needed || array_of(batch, &arrays[i]))
            head.present |= 1u << i;
    return head;
}

tn_status step_message_write_batch(step_buffer *out, const step_shape *shape, const tn_batch *batch, uint64_t order,
                                   uint64_t prev_order, tn_error *err)
{
    const batch_head head = head_of(batch, order, prev_order);
    uint64_t extents[EXTENTS], payload = sizeof head;

    extents_of(&head, shape, extents);
    for (uint32_t i = 0; i < ARRAYS; i++)
        if (head.present >> i & 1)
            payload += round_up(extents[arrays[i].extent] * arrays[i].size);
    tn_status status = begin(out, STEP_SUBMIT, payload, err);
    if (status != TN_OK)
        return status;
    append(out, &head, sizeof head);
    for (uint32_t i = 0; i < ARRAYS; i++)
        if (head.present >> i & 1)
            append(out, array_of(batch, &arrays[i]), extents[arrays[i].extent] * arrays[i].size);
    return TN_OK;
}

tn_status step_message_write_copy(step_buffer *out, uint32_t group, const tn_kvmove *moves, uint32_t count,
                                  tn_error *err)
{
    const copy_head head = {group, count};
    tn_status status = begin(out, STEP_COPY, sizeof head + (uint64_t)count * sizeof *moves, err);
    if (status != TN_OK)
        return status;
    append(out, &head, sizeof head);
    append(out, moves, (uint64_t)count * sizeof *moves);
    return TN_OK;
}

void step_message_write_number(uint8_t ret_message[STEP_NUMBER_BYTES], uint32_t kind, uint64_t number)
{
    const uint32_t head[2] = {kind, sizeof number};

    memcpy(ret_message, head, sizeof head);
    memcpy(ret_message + sizeof head, &number, sizeof number);
}

/* ---- reading ---- */

static tn_status corrupt(const char *what, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "a step from rank 0 %s", what);
}

tn_status step_message_read_head(const uint8_t head[STEP_HEAD_BYTES], uint32_t *ret_kind, uint32_t *ret_bytes,
                                 tn_error *err)
{
    uint32_t numbers[2];

    memcpy(numbers, head, sizeof numbers);
    if (numbers[0] < STEP_SUBMIT || numbers[0] > STEP_STOP)
        return tn_fail(err, TN_E_CORRUPT, "a message between rank 0 and a worker is of an unknown kind, %u",
                       numbers[0]);
    if (numbers[1] > STEP_PAYLOAD_MAX)
        return tn_fail(err, TN_E_CORRUPT, "a message between rank 0 and a worker has %u bytes, more than %d",
                       numbers[1], STEP_PAYLOAD_MAX);
    *ret_kind = numbers[0];
    *ret_bytes = numbers[1];
    return TN_OK;
}

static tn_status check_head(const batch_head *head, const step_shape *shape, tn_error *err)
{
    if (head->token_count > shape->max_tokens || head->seq_count > shape->max_seqs ||
        head->out_count > shape->max_outputs)
        return corrupt("has more rows than the model was compiled for", err);
    if (head->axis_count > STEP_AXES_MAX)
        return corrupt("has positions of too many axes", err);
    if (head->present & ~(1u << SAMPLED | ((1u << ARRAYS) - 1)))
        return corrupt("has an array that this version does not know", err);
    for (uint32_t i = 0; i < ARRAYS; i++) {
        bool present = head->present >> i & 1;
        if (arrays[i].needed && !present)
            return corrupt("lacks an array", err);
        if (arrays[i].owner == IN_SAMPLE && present && !(head->present >> SAMPLED))
            return corrupt("has sampling parameters that belong to nothing", err);
    }
    return TN_OK;
}

/* Sets the pointers into the payload, which must end where the last array does. */
static tn_status place_arrays(const batch_head *head, const uint8_t *payload, size_t n, const step_shape *shape,
                              step_batch *batch, tn_error *err)
{
    uint64_t extents[EXTENTS], at = sizeof *head;

    extents_of(head, shape, extents);
    for (uint32_t i = 0; i < ARRAYS; i++) {
        const array_form *form = &arrays[i];
        if (!(head->present >> i & 1))
            continue;
        uint64_t bytes = round_up(extents[form->extent] * form->size);
        if (bytes > n - at)
            return corrupt("ends within an array", err);
        const void *pointer = payload + at;
        size_t owner = form->owner == IN_BATCH ? offsetof(step_batch, batch) : offsetof(step_batch, sample);
        memcpy((char *)batch + owner + form->offset, &pointer, sizeof pointer);
        at += bytes;
    }
    return at == n ? TN_OK : corrupt("has bytes behind its last array", err);
}

/* count + 1 starts from 0 to end. */
static bool are_starts(const uint32_t *start, uint32_t count, uint32_t end)
{
    for (uint32_t i = 0; i < count; i++)
        if (start[i] > start[i + 1])
            return false;
    return start[0] == 0 && start[count] == end;
}

static bool all_below(const uint32_t *values, uint32_t count, uint32_t limit)
{
    for (uint32_t i = 0; i < count; i++)
        if (values[i] >= limit)
            return false;
    return true;
}

static tn_status check_lists(const batch_head *head, const tn_sample *sample, tn_error *err)
{
    const bool bias = sample->bias_row != NULL, seen = sample->seen_row != NULL;

    if ((sample->bias_token != NULL) != bias || (sample->bias_value != NULL) != bias ||
        (sample->seen_token != NULL) != seen || (sample->seen_count != NULL) != seen)
        return corrupt("has one array of a list without the others", err);
    if ((bias ? !are_starts(sample->bias_row, head->out_count, head->bias_count) : head->bias_count > 0) ||
        (seen ? !are_starts(sample->seen_row, head->out_count, head->seen_count) : head->seen_count > 0))
        return corrupt("has lists that do not begin and end where they should", err);
    return TN_OK;
}

static tn_status check_indices(const tn_batch *batch, const step_shape *shape, tn_error *err)
{
    if (!are_starts(batch->seq_start, batch->seq_count, batch->token_count))
        return corrupt("has sequences that do not begin and end where they should", err);
    if (!all_below(batch->slot, batch->seq_count, shape->max_seqs) ||
        !all_below(batch->delta_slot, batch->delta_count, shape->max_seqs) ||
        !all_below(batch->delta_group, batch->delta_count, shape->kv_groups) ||
        !all_below(batch->out_row, batch->out_count, batch->token_count))
        return corrupt("has a slot, a group or an output row that there is not", err);
    return TN_OK;
}

tn_status step_message_read_batch(const uint8_t *payload, size_t n, const step_shape *shape, step_batch *ret_batch,
                                  tn_error *err)
{
    batch_head head;

    TN_ASSERT((uintptr_t)payload % 8 == 0);
    if (n < sizeof head)
        return corrupt("ends within its head", err);
    memcpy(&head, payload, sizeof head);
    tn_status status = check_head(&head, shape, err);
    if (status != TN_OK)
        return status;
    *ret_batch = (step_batch){
        .order = head.order,
        .prev_order = head.prev_order,
        .batch = {.struct_size = sizeof ret_batch->batch,
                  .need = head.need,
                  .token_count = head.token_count,
                  .seq_count = head.seq_count,
                  .out_count = head.out_count,
                  .delta_count = head.delta_count,
                  .axis_count = head.axis_count,
                  .sample = head.present >> SAMPLED ? &ret_batch->sample : NULL},
        .sample = {.struct_size = sizeof ret_batch->sample, .top_logprobs = head.top_logprobs},
    };
    status = place_arrays(&head, payload, n, shape, ret_batch, err);
    if (status == TN_OK)
        status = check_lists(&head, &ret_batch->sample, err);
    return status == TN_OK ? check_indices(&ret_batch->batch, shape, err) : status;
}

tn_status step_message_read_copy(const uint8_t *payload, size_t n, const step_shape *shape, uint32_t *ret_group,
                                 const tn_kvmove **ret_moves, uint32_t *ret_count, tn_error *err)
{
    copy_head head;

    TN_ASSERT((uintptr_t)payload % 8 == 0);
    if (n < sizeof head)
        return corrupt("ends within its head", err);
    memcpy(&head, payload, sizeof head);
    if (head.group >= shape->kv_groups || n - sizeof head != (uint64_t)head.count * sizeof(tn_kvmove))
        return corrupt("copies pages of a group that there is not, or ends within them", err);
    *ret_group = head.group;
    *ret_moves = (const tn_kvmove *)(const void *)(payload + sizeof head);
    *ret_count = head.count;
    return TN_OK;
}

tn_status step_message_read_number(const uint8_t *payload, size_t n, uint64_t *ret_number, tn_error *err)
{
    if (n != sizeof *ret_number)
        return corrupt("has too few bytes, or too many", err);
    memcpy(ret_number, payload, sizeof *ret_number);
    return TN_OK;
}
