/* runtime/workers/step_message.h: what rank 0 tells its workers to do: the calls of its backend, as bytes.
 *
 * A message is a head (its kind and the bytes that follow, 32 bits each), then the kind's numbers and arrays, all
 * little-endian, every array on a boundary of 8 bytes, so that a batch is read where it lies.
 *
 *   rank 0 -> worker  SUBMIT  order, the batch     WAIT  order     COPY  group, moves     END
 *   worker -> rank 0  STOP    signal               the worker was told to stop: rank 0 finishes what runs and ends all
 *
 * Order counts the submits of rank 0 from 1: tickets are each backend's own. The bytes come from a member of the group,
 * but are held to all that reading them safely depends on; that pages and the like are in range is the backend's.
 */
#ifndef WORKERS_STEP_MESSAGE_H
#define WORKERS_STEP_MESSAGE_H

#include "tenon/backend.h"

enum { STEP_SUBMIT = 1, STEP_WAIT = 2, STEP_COPY = 3, STEP_END = 4, STEP_STOP = 5 };
enum { STEP_HEAD_BYTES = 8, STEP_NUMBER_BYTES = 16, STEP_PAYLOAD_MAX = 1 << 30, STEP_AXES_MAX = 8 };

/* What both sides compiled: the limits of a batch. */
typedef struct step_shape {
    uint32_t vocab, width;
    uint32_t max_tokens, max_seqs, max_outputs, kv_groups;
} step_shape;

/* Bytes that grow, aligned as malloc aligns. */
typedef struct step_buffer {
    uint8_t *bytes; /* owned */
    size_t n, capacity;
} step_buffer;

/* A batch as read: batch and sample point into the payload, batch.sample at sample or NULL; batch.prev is 0. */
typedef struct step_batch {
    uint64_t order, prev_order; /* 0: the batch points into no earlier one */
    tn_batch batch;
    tn_sample sample;
} step_batch;

/* The first two fill the buffer with one whole message. TN_E_MEMORY, or TN_E_UNSUPPORTED for a batch that is larger
 * than a message may be. [any] */
tn_status step_message_write_batch(step_buffer *out, const step_shape *shape, const tn_batch *batch, uint64_t order,
                                   uint64_t prev_order, tn_error *err);
tn_status step_message_write_copy(step_buffer *out, uint32_t group, const tn_kvmove *moves, uint32_t count,
                                  tn_error *err);
/* WAIT, END and STOP: of one number. */
void step_message_write_number(uint8_t ret_message[STEP_NUMBER_BYTES], uint32_t kind, uint64_t number);

/* The head of a message. TN_E_CORRUPT: no such kind, or longer than any. [any] */
tn_status step_message_read_head(const uint8_t head[STEP_HEAD_BYTES], uint32_t *ret_kind, uint32_t *ret_bytes,
                                 tn_error *err);
/* Payloads, aligned to 8 bytes. Everything returned is borrowed from them. TN_E_CORRUPT says what is wrong. [any] */
tn_status step_message_read_batch(const uint8_t *payload, size_t n, const step_shape *shape, step_batch *ret_batch,
                                  tn_error *err);
tn_status step_message_read_copy(const uint8_t *payload, size_t n, const step_shape *shape, uint32_t *ret_group,
                                 const tn_kvmove **ret_moves, uint32_t *ret_count, tn_error *err);
tn_status step_message_read_number(const uint8_t *payload, size_t n, uint64_t *ret_number, tn_error *err);

/* Room for n bytes; what was there is kept. */
tn_status step_buffer_reserve(step_buffer *buffer, size_t n, tn_error *err);
void step_buffer_finish(step_buffer *buffer);

#endif
