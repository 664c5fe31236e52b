/* fuzz_step_message.c: the input is a message to a worker: its kind (a byte), then the payload. A batch that is let
 * pass is read as a backend reads it, and written anew it is the same bytes.
 */
#include "workers/step_message.h"

#include <stdlib.h>
#include <string.h>

static const step_shape shape = {
    .vocab = 70, .width = 4, .max_tokens = 64, .max_seqs = 8, .max_outputs = 16, .kv_groups = 2};

static void write_anew(const step_batch *read, const uint8_t *payload, size_t n)
{
    step_buffer out = {0};
    step_batch again;

    TN_ASSERT(step_message_write_batch(&out, &shape, &read->batch, read->order, read->prev_order, NULL) == TN_OK);
    TN_ASSERT(out.n == n + STEP_HEAD_BYTES);
    TN_ASSERT(step_message_read_batch(out.bytes + STEP_HEAD_BYTES, n, &shape, &again, NULL) == TN_OK);
    TN_ASSERT(!memcmp(out.bytes + STEP_HEAD_BYTES, payload, 24)); /* order, need and what is there */
    step_buffer_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    tn_error err = TN_ERROR_INIT;
    const tn_kvmove *moves;
    step_batch read;
    uint32_t group, count;
    uint64_t number;

    if (n < 1)
        return 0;
    uint8_t *payload = malloc(n);
    TN_ASSERT(payload);
    memcpy(payload, bytes + 1, n - 1);
    tn_status status = TN_OK;
    if (bytes[0] == STEP_SUBMIT)
        status = step_message_read_batch(payload, n - 1, &shape, &read, &err);
    else if (bytes[0] == STEP_COPY)
        status = step_message_read_copy(payload, n - 1, &shape, &group, &moves, &count, &err);
    else
        status = step_message_read_number(payload, n - 1, &number, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == 0));
    if (status == TN_OK && bytes[0] == STEP_SUBMIT)
        write_anew(&read, payload, n - 1);
    for (uint32_t i = 0; status == TN_OK && bytes[0] == STEP_COPY && i < count; i++)
        TN_ASSERT(moves[i].src <= UINT32_MAX && moves[i].dst <= UINT32_MAX);
    free(payload);
    return 0;
}
