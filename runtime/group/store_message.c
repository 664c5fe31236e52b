/* store_message.c: see store_message.h. One table says what each kind holds, and both directions walk it. */
#include "group/store_message.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>

enum { NUMBERS_MAX = 3, DIGESTS_MAX = 2, BLOBS_MAX = 2 };

typedef struct message_form {
    uint32_t numbers, digests, blobs;
    uint32_t blob_max[BLOBS_MAX];
} message_form;

enum { TEXT_MAX = 512, NAME_MAX_BYTES = 255 };

static const message_form forms[] = {
    [STORE_CHALLENGE] = {.digests = 1},
    [STORE_HELLO] = {.numbers = 3, .digests = 2, .blobs = 2, .blob_max = {NAME_MAX_BYTES, NAME_MAX_BYTES}},
    [STORE_WELCOME] = {.digests = 1},
    [STORE_REFUSED] = {.numbers = 1, .blobs = 1, .blob_max = {TEXT_MAX}},
    [STORE_PUT] = {.numbers = 1, .blobs = 2, .blob_max = {TN_RENDEZVOUS_KEY_MAX, TN_RENDEZVOUS_VALUE_MAX}},
    [STORE_GET] = {.numbers = 2, .blobs = 1, .blob_max = {TN_RENDEZVOUS_KEY_MAX}},
    [STORE_REPLY] = {.numbers = 2, .blobs = 1, .blob_max = {TN_RENDEZVOUS_VALUE_MAX}},
    [STORE_ABORT] = {.numbers = 1, .blobs = 1, .blob_max = {TEXT_MAX}},
    [STORE_LEAVE] = {0},
};
enum { KINDS = sizeof forms / sizeof *forms };

/* ---- reading ---- */

static tn_status fail_length(uint32_t kind, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "a message of kind %u to or from the store of a group ends too early or too late",
                   kind);
}

/* Blobs, up to the very end of the frame. */
static tn_status parse_blobs(const message_form *form, const uint8_t *at, const uint8_t *end, store_message *message,
                             tn_error *err)
{
    for (uint32_t i = 0; i < form->blobs; i++) {
        if (end - at < 4)
            return fail_length(message->kind, err);
        uint32_t n = wire_load32(at);
        at += 4;
        if (n > form->blob_max[i])
            return tn_fail(err, TN_E_CORRUPT, "a message of kind %u holds %u bytes where %u are the most",
                           message->kind, n, form->blob_max[i]);
        if ((size_t)(end - at) < n)
            return fail_length(message->kind, err);
        message->blob[i] = (wire_blob){(const char *)at, n};
        at += n;
    }
    return at == end ? TN_OK : fail_length(message->kind, err);
}

tn_status store_message_parse(const uint8_t *frame, size_t n, store_message *ret_message, tn_error *err)
{
    store_message message = {.kind = n ? frame[0] : 0};
    if (message.kind == 0 || message.kind >= KINDS)
        return tn_fail(err, TN_E_CORRUPT,
                       "a message of an unknown kind, %u: the other side is no Tenon, or another version",
                       message.kind);
    const message_form *form = &forms[message.kind];
    if (n < 1 + form->numbers * (size_t)4 + form->digests * (size_t)STORE_DIGEST_BYTES)
        return fail_length(message.kind, err);
    const uint8_t *at = frame + 1;
    for (uint32_t i = 0; i < form->numbers; i++, at += 4)
        message.number[i] = wire_load32(at);
    for (uint32_t i = 0; i < form->digests; i++, at += STORE_DIGEST_BYTES)
        memcpy(message.digest[i], at, STORE_DIGEST_BYTES);
    tn_status status = parse_blobs(form, at, frame + n, &message, err);
    if (status == TN_OK)
        *ret_message = message;
    return status;
}

/* ---- writing ---- */

tn_status store_message_write(wire_buffer *out, const store_message *message, tn_error *err)
{
    TN_ASSERT(message->kind > 0 && message->kind < KINDS);
    const message_form *form = &forms[message->kind];
    wire_writer writer = wire_begin(out, message->kind);

    for (uint32_t i = 0; i < form->numbers; i++)
        wire_put32(&writer, message->number[i]);
    for (uint32_t i = 0; i < form->digests; i++)
        wire_put_bytes(&writer, message->digest[i], STORE_DIGEST_BYTES);
    for (uint32_t i = 0; i < form->blobs; i++) {
        TN_ASSERT(message->blob[i].n <= form->blob_max[i]);
        wire_put_blob(&writer, message->blob[i].bytes, message->blob[i].n);
    }
    return wire_end(&writer, err);
}

/* ---- proofs ---- */

static void hash32(struct hmac_sha256_ctx *hash, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    hmac_sha256_update(hash, sizeof bytes, bytes);
}

void store_message_prove(const uint8_t *secret, size_t n_secret, uint32_t whose,
                         const uint8_t challenge[STORE_DIGEST_BYTES], const store_message *hello,
                         uint8_t ret_proof[STORE_DIGEST_BYTES])
{
    struct hmac_sha256_ctx hash;
    hmac_sha256_set_key(&hash, n_secret, secret);
    hash32(&hash, whose);
    hmac_sha256_update(&hash, STORE_DIGEST_BYTES, challenge);
    hmac_sha256_update(&hash, STORE_DIGEST_BYTES, hello->digest[0]);
    for (uint32_t i = 0; i < NUMBERS_MAX; i++)
        hash32(&hash, hello->number[i]);
    for (uint32_t i = 0; i < BLOBS_MAX; i++) {
        hash32(&hash, hello->blob[i].n);
        hmac_sha256_update(&hash, hello->blob[i].n, (const uint8_t *)hello->blob[i].bytes);
    }
    hmac_sha256_digest(&hash, STORE_DIGEST_BYTES, ret_proof);
}

bool store_message_same_digest(const uint8_t a[STORE_DIGEST_BYTES], const uint8_t b[STORE_DIGEST_BYTES])
{
    return memeql_sec(a, b, STORE_DIGEST_BYTES);
}
