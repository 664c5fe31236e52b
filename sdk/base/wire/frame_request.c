/* frame_request.c: SUBMIT. Behind channel, tag and the seed that may be forced comes the part that is the same on every
 * try: numbers, then arrays, whose counts are among the numbers, then texts.
 */
#include "base/wire/engine_frame.h"
#include "base/wire/frame_fail.h"

enum { SALT_BYTES_MAX = 1024, HEAD_BYTES = 256, STOP_BYTES_EACH = 4 };

uint64_t frame_request_max(const tn_engine_info *info)
{
    uint64_t ints =
        (uint64_t)info->max_model_len + info->max_stop_tokens + 2 * (uint64_t)info->max_bias + info->vocab_size;
    uint64_t stops = (uint64_t)info->max_stop * ((uint64_t)info->max_stop_bytes + STOP_BYTES_EACH);
    return HEAD_BYTES + SALT_BYTES_MAX + info->max_grammar_bytes + 4 * ints + stops; /* sums of limits below 2^28, products below 2^57 */
}

/* ---- writing ---- */

static tn_status check_count(const char *field, uint64_t count, const void *values, uint64_t max, tn_error *err)
{
    if (count > max)
        return tn_fail(err, TN_E_ARGUMENT, "%s is %llu; this engine takes at most %llu", field,
                       (unsigned long long)count, (unsigned long long)max);
    if (count > 0 && !values)
        return tn_fail(err, TN_E_ARGUMENT, "%s is %llu, but there is no array", field, (unsigned long long)count);
    return TN_OK;
}

/* Of a request that may be of an older size. */
static uint32_t grammar_bytes(const tn_request *request)
{
    bool asked = TN_HAS(request, tn_request, grammar_bytes) && request->grammar_kind != TN_GRAMMAR_NONE;
    return asked ? request->grammar_bytes : 0;
}

static tn_status check_stops(const tn_request *request, const tn_engine_info *info, tn_error *err)
{
    tn_status status = check_count("stop_count", request->stop_count, request->stop, info->max_stop, err);
    for (uint32_t i = 0; status == TN_OK && i < request->stop_count; i++) {
        if (!request->stop[i])
            status = tn_fail(err, TN_E_ARGUMENT, "stop[%u] is empty", i);
        else if (strnlen(request->stop[i], (size_t)info->max_stop_bytes + 1) > info->max_stop_bytes)
            status = tn_fail(err, TN_E_ARGUMENT, "stop[%u] is longer than %u bytes", i, info->max_stop_bytes);
    }
    return status;
}

static tn_status check_sizes(const tn_request *request, const tn_engine_info *info, tn_error *err)
{
    if (!request || !TN_HAS(request, tn_request, user))
        return tn_fail(err, TN_E_ARGUMENT, "struct_size of the request is too small; set it to sizeof(tn_request)");
    if (request->token_count == 0 || !request->token)
        return tn_fail(err, TN_E_ARGUMENT, "token: the prompt is empty; it needs at least one token");
    if (request->token_count > info->max_model_len)
        return tn_fail(err, TN_E_ARGUMENT,
                       "token_count: the prompt has %llu tokens, but max_model_len is %u, generated tokens included",
                       (unsigned long long)request->token_count, info->max_model_len);
    tn_status status = check_stops(request, info, err);
    if (status == TN_OK)
        status =
            check_count("stop_token_count", request->stop_token_count, request->stop_token, info->max_stop_tokens, err);
    if (status == TN_OK)
        status = check_count("bias_count", request->bias_count, request->bias, info->max_bias, err);
    if (status == TN_OK && request->allowed)
        status = check_count("allowed_count", request->allowed_count, request->allowed, info->vocab_size, err);
    if (status == TN_OK && request->cache_salt && strnlen(request->cache_salt, SALT_BYTES_MAX + 1) > SALT_BYTES_MAX)
        status = tn_fail(err, TN_E_ARGUMENT, "cache_salt is longer than %d bytes", SALT_BYTES_MAX);
    if (status == TN_OK)
        status = check_count("grammar_bytes", grammar_bytes(request), request->grammar, info->max_grammar_bytes, err);
    return status;
}

static void put_numbers(wire_writer *writer, const tn_request *request, uint32_t allowed_count)
{
    bool has_grammar = TN_HAS(request, tn_request, grammar_bytes);
    const uint32_t numbers[] = {request->flags,
                                request->max_new,
                                request->min_new,
                                request->n_choices,
                                (uint32_t)request->priority,
                                request->top_k,
                                request->top_logprobs,
                                (uint32_t)request->token_count,
                                request->stop_count,
                                request->stop_token_count,
                                request->bias_count,
                                request->allowed != NULL,
                                allowed_count,
                                request->cache_salt != NULL,
                                has_grammar ? request->grammar_kind : TN_GRAMMAR_NONE};
    const float floats[] = {request->temperature, request->top_p,    request->min_p,
                            request->repetition,  request->presence, request->frequency};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wire_put32(writer, numbers[i]);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        wire_put_float(writer, floats[i]);
    wire_put64(writer, request->seed);
}

tn_status frame_request_write_part(wire_buffer *out, const tn_request *request, const tn_engine_info *info,
                                   tn_error *err)
{
    tn_status status = check_sizes(request, info, err);
    if (status != TN_OK)
        return status;
    uint32_t allowed_count = request->allowed ? request->allowed_count : 0;
    wire_writer writer = wire_begin_part(out);
    put_numbers(&writer, request, allowed_count);
    wire_put_ints(&writer, request->token, request->token_count);
    wire_put_ints(&writer, request->stop_token, request->stop_token_count);
    for (uint32_t i = 0; i < request->bias_count; i++) {
        wire_put32(&writer, (uint32_t)request->bias[i].token);
        wire_put_float(&writer, request->bias[i].value);
    }
    wire_put_ints(&writer, request->allowed, allowed_count);
    wire_put_text(&writer, request->cache_salt);
    uint32_t grammar = grammar_bytes(request);
    wire_put_blob(&writer, grammar > 0 ? request->grammar : "", grammar);
    for (uint32_t i = 0; i < request->stop_count; i++)
        wire_put_text(&writer, request->stop[i]);
    return wire_end_part(&writer, err);
}

tn_status frame_request_write(wire_buffer *out, uint32_t channel, uint64_t tag, const uint64_t *seed,
                              const wire_buffer *part, tn_error *err)
{
    wire_writer writer = wire_begin(out, FRAME_SUBMIT);
    wire_put32(&writer, channel);
    wire_put64(&writer, tag);
    wire_put32(&writer, seed != NULL);
    wire_put64(&writer, seed ? *seed : 0);
    wire_put_bytes(&writer, part->bytes + part->begin, wire_buffer_count(part));
    return wire_end(&writer, err);
}

/* ---- reading ---- */

static void get_numbers(wire_reader *reader, frame_request *read)
{
    tn_request *request = &read->request;
    request->flags = wire_get32(reader);
    request->max_new = wire_get32(reader);
    request->min_new = wire_get32(reader);
    request->n_choices = wire_get32(reader);
    request->priority = (int32_t)wire_get32(reader);
    request->top_k = wire_get32(reader);
    request->top_logprobs = wire_get32(reader);
    request->token_count = wire_get32(reader);
    request->stop_count = wire_get32(reader);
    request->stop_token_count = wire_get32(reader);
    request->bias_count = wire_get32(reader);
    read->has_allowed = wire_get32(reader) != 0;
    request->allowed_count = wire_get32(reader);
    read->has_salt = wire_get32(reader) != 0;
    request->grammar_kind = wire_get32(reader);
    request->temperature = wire_get_float(reader);
    request->top_p = wire_get_float(reader);
    request->min_p = wire_get_float(reader);
    request->repetition = wire_get_float(reader);
    request->presence = wire_get_float(reader);
    request->frequency = wire_get_float(reader);
    request->seed = wire_get64(reader);
}

/* Stop strings are the last of the frame, so that their number is bounded by what is there. */
static void get_stops(wire_reader *reader, frame_request *read)
{
    read->stops = reader->at;
    for (uint32_t i = 0; i < read->request.stop_count && !reader->broken; i++) {
        wire_blob stop = wire_get_blob(reader, UINT32_MAX);
        if (memchr(stop.bytes, '\0', stop.n))
            reader->broken = true;
        read->stop_bytes += stop.n + (size_t)1;
    }
}

tn_status frame_request_read(const uint8_t *frame, size_t n, frame_request *ret_request, tn_error *err)
{
    if (n == 0 || frame[0] != FRAME_SUBMIT)
        return frame_fail(frame, n, "is not a request", err);
    wire_reader reader = wire_reader_of(frame, n);
    frame_request read = {.request.struct_size = sizeof read.request, .channel = wire_get32(&reader)};
    read.request.user = wire_get64(&reader);
    bool seeded = wire_get32(&reader) != 0;
    uint64_t seed = wire_get64(&reader);
    get_numbers(&reader, &read);
    if (seeded) {
        read.request.flags |= TN_REQ_SEED;
        read.request.seed = seed;
    }
    read.token = wire_get_array(&reader, read.request.token_count, 4);
    read.stop_token = wire_get_array(&reader, read.request.stop_token_count, 4);
    read.bias = wire_get_array(&reader, read.request.bias_count, 8);
    read.allowed = wire_get_array(&reader, read.request.allowed_count, 4);
    read.salt = wire_get_blob(&reader, SALT_BYTES_MAX);
    read.grammar = wire_get_blob(&reader, UINT32_MAX);
    get_stops(&reader, &read);
    if (memchr(read.salt.bytes, '\0', read.salt.n) || !wire_reader_done(&reader))
        return frame_fail(frame, n, "ends too early or too late, or holds a NUL in a text", err);
    *ret_request = read;
    return TN_OK;
}

/* ---- placing: pointers first, then 32-bit values, then bytes ---- */

size_t frame_request_bytes(const frame_request *read)
{
    const tn_request *request = &read->request; /* all of it was in the frame: no sum wraps */
    return request->stop_count * sizeof(const char *) + request->bias_count * sizeof(tn_bias) +
           (request->token_count + request->stop_token_count + request->allowed_count + 1) * sizeof(int32_t) +
           read->stop_bytes + read->salt.n + read->grammar.n + 2;
}

static int32_t *place_ints(int32_t **at, const uint8_t *from, uint64_t count)
{
    int32_t *values = *at;
    for (uint64_t i = 0; i < count; i++)
        values[i] = (int32_t)wire_load32(from + 4 * i);
    *at += count;
    return values;
}

void frame_request_place(frame_request *read, void *storage)
{
    tn_request *request = &read->request;
    const char **stop = storage;
    tn_bias *bias = (tn_bias *)(stop + request->stop_count);
    int32_t *ints = (int32_t *)(bias + request->bias_count);

    for (uint32_t i = 0; i < request->bias_count; i++)
        bias[i] = (tn_bias){(int32_t)wire_load32(read->bias + 8 * (size_t)i),
                            wire_load_float(read->bias + 8 * (size_t)i + 4)};
    request->token = place_ints(&ints, read->token, request->token_count);
    request->stop_token = place_ints(&ints, read->stop_token, request->stop_token_count);
    int32_t *allowed = place_ints(&ints, read->allowed, request->allowed_count);
    char *text = (char *)(ints + 1);
    const uint8_t *at = read->stops;
    for (uint32_t i = 0; i < request->stop_count; i++) {
        wire_blob blob = {(const char *)at + 4, wire_load32(at)};
        stop[i] = frame_place_text(&text, blob);
        at += 4 + (size_t)blob.n;
    }
    char *salt = frame_place_text(&text, read->salt);
    request->grammar_bytes = read->grammar.n;
    request->grammar = frame_place_text(&text, read->grammar);
    request->stop = stop;
    request->bias = bias;
    request->allowed = read->has_allowed ? allowed : NULL;
    request->cache_salt = read->has_salt ? salt : NULL;
}
