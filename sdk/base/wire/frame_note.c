/* frame_note.c: the small frames, WELCOME and HEALTH. */
#include "base/utf8.h"
#include "base/wire/engine_frame.h"
#include "base/wire/frame_fail.h"

#include <string.h>

/* ---- notes ---- */

static bool is_note(uint32_t kind)
{
    switch (kind) {
    case FRAME_HELLO:
    case FRAME_GOODBYE:
    case FRAME_OPEN:
    case FRAME_CANCEL:
    case FRAME_CREDIT:
    case FRAME_CLOSE:
    case FRAME_ASK:
    case FRAME_TAKEN:
    case FRAME_REFUSED:
        return true;
    default:
        return false;
    }
}

tn_status frame_note_write(wire_buffer *out, const frame_note *note, tn_error *err)
{
    TN_ASSERT(is_note(note->kind));
    uint32_t text_bytes = note->text.n < FRAME_TEXT_MAX ? note->text.n : FRAME_TEXT_MAX;
    wire_writer writer = wire_begin(out, note->kind);
    wire_put32(&writer, note->channel);
    wire_put64(&writer, note->tag);
    wire_put64(&writer, note->number);
    wire_put32(&writer, (uint32_t)note->status);
    wire_put_blob(&writer, note->text.bytes, text_bytes);
    return wire_end(&writer, err);
}

tn_status frame_note_read(const uint8_t *frame, size_t n, frame_note *ret_note, tn_error *err)
{
    if (n == 0 || !is_note(frame[0]))
        return frame_fail(frame, n, "is of a kind that this side does not take", err);
    wire_reader reader = wire_reader_of(frame, n);
    frame_note note = {.kind = frame[0]};
    note.channel = wire_get32(&reader);
    note.tag = wire_get64(&reader);
    note.number = wire_get64(&reader);
    note.status = (tn_status)wire_get32(&reader);
    note.text = wire_get_blob(&reader, FRAME_TEXT_MAX);
    if (!wire_reader_done(&reader))
        return frame_fail(frame, n, "ends too early or too late", err);
    *ret_note = note;
    return TN_OK;
}

const char *frame_note_text(const frame_note *note, char text[FRAME_TEXT_MAX + 1])
{
    uint32_t n = note->text.n < FRAME_TEXT_MAX ? note->text.n : FRAME_TEXT_MAX;
    memcpy(text, note->text.bytes, n);
    text[n] = '\0';
    return text;
}

/* ---- WELCOME ---- */

/* FNV-1a. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t frame_identity(const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab_size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    char piece[1024];

    for (uint32_t id = 0; id < vocab_size; id++) {
        uint64_t bytes = sizeof piece;
        uint32_t attributes = table->attributes(tok, (int32_t)id);
        tn_status status = table->piece(tok, (int32_t)id, 0, 0, piece, &bytes, NULL);
        if (status == TN_OK)
            hash = hash_bytes(hash, piece, bytes);
        hash = hash_bytes(hash, &bytes, sizeof bytes);
        hash = hash_bytes(hash, &attributes, sizeof attributes);
    }
    return hash;
}

tn_status frame_info_write(wire_buffer *out, const tn_engine_info *info, uint64_t identity, tn_error *err)
{
    uint32_t names = 0;
    while (info->served_names[names] && names < FRAME_NAMES_MAX)
        names++;
    wire_writer writer = wire_begin(out, FRAME_WELCOME);
    wire_put32(&writer, ENGINE_FRAME_VERSION);
    wire_put64(&writer, identity);
    const uint32_t numbers[] = {info->vocab_size,     info->max_model_len,    info->max_num_seqs,
                                info->max_choices,    info->max_top_logprobs, info->max_stop,
                                info->max_stop_bytes, info->max_bias,         info->max_stop_tokens,
                                info->grammars,       info->max_grammar_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wire_put32(&writer, numbers[i]);
    wire_put64(&writer, info->created);
    wire_put_float(&writer, info->defaults.temperature);
    wire_put_float(&writer, info->defaults.top_p);
    wire_put_float(&writer, info->defaults.min_p);
    wire_put_float(&writer, info->defaults.repetition);
    wire_put32(&writer, info->defaults.top_k);
    wire_put32(&writer, info->defaults.max_new);
    wire_put_text(&writer, info->model_path);
    wire_put_text(&writer, info->architecture);
    wire_put32(&writer, names);
    for (uint32_t i = 0; i < names; i++)
        wire_put_text(&writer, info->served_names[i]);
    return wire_end(&writer, err);
}

static void read_limits(wire_reader *reader, tn_engine_info *info)
{
    uint32_t *numbers[] = {&info->vocab_size,     &info->max_model_len,    &info->max_num_seqs,
                           &info->max_choices,    &info->max_top_logprobs, &info->max_stop,
                           &info->max_stop_bytes, &info->max_bias,         &info->max_stop_tokens,
                           &info->grammars,       &info->max_grammar_bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = wire_get32(reader);
    info->created = wire_get64(reader);
    info->defaults.temperature = wire_get_float(reader);
    info->defaults.top_p = wire_get_float(reader);
    info->defaults.min_p = wire_get_float(reader);
    info->defaults.repetition = wire_get_float(reader);
    info->defaults.top_k = wire_get32(reader);
    info->defaults.max_new = wire_get32(reader);
}

/* Limits so large that sums of them would wrap are nobody's. */
static bool is_sane(const tn_engine_info *info)
{
    const uint32_t sizes[] = {info->vocab_size,       info->max_model_len,   info->max_choices,
                              info->max_top_logprobs, info->max_stop,        info->max_stop_bytes,
                              info->max_bias,         info->max_stop_tokens, info->max_num_seqs,
                              info->max_grammar_bytes};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > 1u << 28)
            return false;
    return info->vocab_size > 0 && info->max_model_len > 0 && info->max_choices > 0;
}

tn_status frame_info_read(const uint8_t *frame, size_t n, frame_info *ret_info, tn_error *err)
{
    if (n == 0 || frame[0] != FRAME_WELCOME)
        return frame_fail(frame, n, "is not the welcome that was expected", err);
    wire_reader reader = wire_reader_of(frame, n);
    frame_info read = {.version = wire_get32(&reader)};
    if (read.version != ENGINE_FRAME_VERSION)
        return tn_fail(err, TN_E_UNSUPPORTED, "the engine speaks version %u of the protocol, this side version %d",
                       read.version, ENGINE_FRAME_VERSION);
    read.identity = wire_get64(&reader);
    read.info.struct_size = sizeof read.info;
    read_limits(&reader, &read.info);
    read.model_path = wire_get_blob(&reader, FRAME_NAME_MAX);
    read.architecture = wire_get_blob(&reader, FRAME_NAME_MAX);
    read.name_count = wire_get32(&reader);
    if (read.name_count == 0 || read.name_count > FRAME_NAMES_MAX)
        return frame_fail(frame, n, "names no model, or too many", err);
    for (uint32_t i = 0; i < read.name_count; i++)
        read.name[i] = wire_get_blob(&reader, FRAME_NAME_MAX);
    if (!wire_reader_done(&reader))
        return frame_fail(frame, n, "ends too early or too late", err);
    if (!is_sane(&read.info))
        return frame_fail(frame, n, "states limits that no engine has", err);
    *ret_info = read;
    return TN_OK;
}

size_t frame_info_bytes(const frame_info *info)
{
    size_t bytes = (info->name_count + 1) * sizeof(const char *) + info->model_path.n + 1 + info->architecture.n + 1;
    for (uint32_t i = 0; i < info->name_count; i++)
        bytes += info->name[i].n + (size_t)1;
    return bytes;
}

void frame_info_place(frame_info *info, void *storage)
{
    const char **names = storage;
    char *text = (char *)(names + info->name_count + 1);

    for (uint32_t i = 0; i < info->name_count; i++)
        names[i] = frame_place_text(&text, info->name[i]);
    names[info->name_count] = NULL;
    info->info.served_names = names;
    info->info.model_path = frame_place_text(&text, info->model_path);
    info->info.architecture = frame_place_text(&text, info->architecture);
}

/* ---- HEALTH ---- */

tn_status frame_health_write(wire_buffer *out, const tn_health *health, uint32_t retry_after, tn_error *err)
{
    wire_writer writer = wire_begin(out, FRAME_HEALTH);
    wire_put32(&writer, health->ready);
    wire_put64(&writer, health->heartbeat_age_ms);
    wire_put32(&writer, health->draining);
    wire_put32(&writer, health->failed);
    wire_put_blob(&writer, health->reason, strnlen(health->reason, sizeof health->reason));
    wire_put32(&writer, retry_after);
    return wire_end(&writer, err);
}

tn_status frame_health_read(const uint8_t *frame, size_t n, tn_health *ret_health, uint32_t *ret_retry_after,
                            tn_error *err)
{
    tn_health health = {.struct_size = sizeof health};
    if (n == 0 || frame[0] != FRAME_HEALTH)
        return frame_fail(frame, n, "is not about health", err);
    wire_reader reader = wire_reader_of(frame, n);
    health.ready = wire_get32(&reader) != 0;
    health.heartbeat_age_ms = wire_get64(&reader);
    health.draining = wire_get32(&reader) != 0;
    health.failed = wire_get32(&reader) != 0;
    wire_blob reason = wire_get_blob(&reader, sizeof health.reason - 1);
    uint32_t retry_after = wire_get32(&reader);
    if (!wire_reader_done(&reader))
        return frame_fail(frame, n, "ends too early or too late", err);
    memcpy(health.reason, reason.bytes, reason.n);
    *ret_health = health;
    *ret_retry_after = retry_after;
    return TN_OK;
}
