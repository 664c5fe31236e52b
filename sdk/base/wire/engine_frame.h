/* sdk/base/wire/engine_frame.h: tn.engine and tn.stats over a stream socket: what a client process and an engine
 * process say to each other. plugins/socket_frontend is the engine's side, runtime/gateway the client's.
 *
 *   client -> engine  HELLO     magic, version                          first
 *   engine -> client  WELCOME   version, identity, tn_engine_info       or GOODBYE status, text, and the connection
 * ends client -> engine  OPEN      channel, queue_cap                      as client_open; the channel begins with as
 * much credit SUBMIT    channel, tag, request CANCEL    channel, request CREDIT    channel, events that may be sent,
 * more than before CLOSE     channel                                 as client_close ASK       FRAME_ASK_* engine ->
 * client  TAKEN     channel, tag, request                   submit has succeeded: before the request's events REFUSED
 * channel, tag, status, text              submit has failed: no event will follow EVENT     channel, event, of which
 * `user` is the tag HEALTH    tn_health, retry_after \ as asked for STATS     all series             /
 *
 * Channels and tags are numbers that the client chooses and never uses again. Each channel is a tn_client of the
 * engine's: no event is sent without credit, so what a client has to hold is bounded by what it offered, and what it
 * does not take stays in the engine's queue, where it stops that client's sequences only. The engine's side bounds its
 * output by reading no further frame while too much is unsent.
 *
 * Numbers of an own kind each: there is no compatibility between versions, and a peer of another one is told both.
 * Nothing is encrypted: the socket file's mode and the peer's credentials say who may speak.
 */
#ifndef BASE_WIRE_ENGINE_FRAME_H
#define BASE_WIRE_ENGINE_FRAME_H

#include "base/wire/wire.h"
#include "tenon/stats.h"

#define ENGINE_FRAME_MAGIC UINT64_C(0x6d6172666e6e6574) /* "tennfram" */
enum { ENGINE_FRAME_VERSION = 2 };

enum {
    FRAME_HELLO = 1,
    FRAME_WELCOME = 2,
    FRAME_GOODBYE = 3,
    FRAME_OPEN = 4,
    FRAME_SUBMIT = 5,
    FRAME_CANCEL = 6,
    FRAME_CREDIT = 7,
    FRAME_CLOSE = 8,
    FRAME_ASK = 9,
    FRAME_TAKEN = 10,
    FRAME_REFUSED = 11,
    FRAME_EVENT = 12,
    FRAME_HEALTH = 13,
    FRAME_STATS = 14
};
enum { FRAME_ASK_HEALTH = 1, FRAME_ASK_STATS = 2 };

enum {
    FRAME_GREETING_MAX = 64,         /* bytes of HELLO, after the length: all that a stranger may send */
    FRAME_FROM_ENGINE_MAX = 4 << 20, /* of any other frame of the engine's */
    FRAME_TEXT_MAX = 512,            /* of a sentence */
    FRAME_NAME_MAX = 4096,           /* of a path or a name */
    FRAME_NAMES_MAX = 16,            /* served names */
    FRAME_EVENT_TEXT_MAX = 1 << 20,
    FRAME_QUEUE_MAX = 1 << 16, /* queue_cap of a channel */
    FRAME_SERIES_MAX = 1024,
    FRAME_BUCKETS_MAX = 64
};

/* HELLO, GOODBYE, OPEN, CANCEL, CREDIT, CLOSE, ASK, TAKEN, REFUSED: all of one form, unused members 0. */
typedef struct frame_note {
    uint32_t kind, channel;
    uint64_t tag;    /* SUBMIT's; HELLO: the magic number */
    uint64_t number; /* version, queue_cap, request, events, FRAME_ASK_* */
    tn_status status;
    wire_blob text;
} frame_note;

/* Of all functions: write appends one frame, TN_E_MEMORY; read takes a frame without its length, whose first byte is
 * the kind, allocates nothing, and borrows from it. TN_E_CORRUPT: it is cut, too long, or out of its limits. [any] */
tn_status frame_note_write(wire_buffer *out, const frame_note *note, tn_error *err);
tn_status frame_note_read(const uint8_t *frame, size_t n, frame_note *ret_note, tn_error *err);
/* The text of a note, terminated; cut to the buffer. */
const char *frame_note_text(const frame_note *note, char text[FRAME_TEXT_MAX + 1]);

/* What an engine is, to compare with what a client thinks it is: a hash of every token's bytes and attributes. */
uint64_t frame_identity(const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab_size);

/* WELCOME. */
typedef struct frame_info {
    uint32_t version;
    uint64_t identity;
    tn_engine_info info; /* pointers are set by place */
    uint32_t name_count;
    wire_blob name[FRAME_NAMES_MAX], model_path, architecture;
} frame_info;
tn_status frame_info_write(wire_buffer *out, const tn_engine_info *info, uint64_t identity, tn_error *err);
tn_status frame_info_read(const uint8_t *frame, size_t n, frame_info *ret_info, tn_error *err);
/* Bytes of the storage that place copies names and texts into, and points info at. Aligned as by malloc. */
size_t frame_info_bytes(const frame_info *info);
void frame_info_place(frame_info *info, void *storage);

/* SUBMIT. The parameters are written once, as a part that is kept, and sent with each try. */
typedef struct frame_request {
    uint32_t channel;
    tn_request request; /* user: the tag; pointers are set by place */
    const uint8_t *token, *stop_token, *bias, *allowed;
    wire_blob salt, grammar;
    bool has_salt, has_allowed;
    const uint8_t *stops; /* request.stop_count blobs, checked */
    size_t stop_bytes;    /* of their texts with terminators */
} frame_request;
/* The most bytes that the SUBMIT of a valid request takes. */
uint64_t frame_request_max(const tn_engine_info *info);
/* Refuses with TN_E_ARGUMENT, naming the field, what exceeds the engine's limits so that it has no frame. All other
 * checks are the engine's. */
tn_status frame_request_write_part(wire_buffer *out, const tn_request *request, const tn_engine_info *info,
                                   tn_error *err);
/* part: as written. seed: NULL: the request's own, if any; else it is as if given. */
tn_status frame_request_write(wire_buffer *out, uint32_t channel, uint64_t tag, const uint64_t *seed,
                              const wire_buffer *part, tn_error *err);
tn_status frame_request_read(const uint8_t *frame, size_t n, frame_request *ret_request, tn_error *err);
size_t frame_request_bytes(const frame_request *request);
void frame_request_place(frame_request *request, void *storage);

/* EVENT. */
typedef struct frame_event {
    uint32_t channel;
    tn_event event; /* pointers are set by place */
    wire_blob text, stop;
    bool has_stop;
    const uint8_t *top; /* [event.top_count] ids, then log-probs */
} frame_event;
tn_status frame_event_write(wire_buffer *out, uint32_t channel, const tn_event *event, tn_error *err);
/* Refuses tokens outside the vocabulary, more alternatives than info allows, and text that is not UTF-8. */
tn_status frame_event_read(const uint8_t *frame, size_t n, const tn_engine_info *info, frame_event *ret_event,
                           tn_error *err);
size_t frame_event_bytes(const frame_event *event);
void frame_event_place(frame_event *event, void *storage);

/* HEALTH. */
tn_status frame_health_write(wire_buffer *out, const tn_health *health, uint32_t retry_after, tn_error *err);
tn_status frame_health_read(const uint8_t *frame, size_t n, tn_health *ret_health, uint32_t *ret_retry_after,
                            tn_error *err);

/* STATS: walked series by series. */
typedef struct frame_series {
    uint32_t kind, bucket_count;
    wire_blob name, help, label, label_value;
    bool has_label;
    double value;
    uint64_t count;
    const uint8_t *bound, *bucket; /* [bucket_count] doubles, 64-bit numbers */
} frame_series;
tn_status frame_stats_write(wire_buffer *out, const tn_stats_table *stats, tn_engine *engine, tn_error *err);
/* *ret_reader stands before the first of *ret_count series. */
tn_status frame_stats_read(const uint8_t *frame, size_t n, wire_reader *ret_reader, uint32_t *ret_count, tn_error *err);
tn_status frame_series_read(wire_reader *reader, frame_series *ret_series, tn_error *err);

#endif
