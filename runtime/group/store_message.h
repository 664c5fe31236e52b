/* runtime/group/store_message.h: what members and the TCP store say to each other.
 *
 * A frame of base/wire: after the kind (8 bits) come the kind's numbers (32 bits each), digests (32 bytes each) and
 * blobs, in the order of the struct. Nothing may be missing or left over. The bytes are foreign: a member is nobody
 * until its digest has been checked, and frames before that are short.
 *
 *   store -> member  CHALLENGE  nonce                                  once connected
 *   member -> store  HELLO      version, rank, world, own nonce, proof, group, host
 *   store -> member  WELCOME    proof       or  REFUSED  status, text (and the connection ends)
 *   member -> store  PUT        id, key, value         \ REPLY  id, status, value or text
 *   member -> store  GET        id, timeout_ms, key    /
 *   both             ABORT      status, reason         the end of the group
 *   member -> store  LEAVE
 *
 * A proof is an HMAC-SHA256 of both nonces and all else in HELLO, so that the secret never crosses and nothing can be
 * replayed. What follows is neither encrypted nor signed: it is for a network that is trusted to that degree.
 */
#ifndef GROUP_STORE_MESSAGE_H
#define GROUP_STORE_MESSAGE_H

#include "base/wire/wire.h"
#include "tenon/rendezvous.h"

enum {
    STORE_VERSION = 1,
    STORE_DIGEST_BYTES = 32,
    STORE_FRAME_MAX = TN_RENDEZVOUS_VALUE_MAX + 1024, /* bytes after the length */
    STORE_GREETING_MAX = 1024                         /* the same, before the member is known */
};

enum {
    STORE_CHALLENGE = 1,
    STORE_HELLO = 2,
    STORE_WELCOME = 3,
    STORE_REFUSED = 4,
    STORE_PUT = 5,
    STORE_GET = 6,
    STORE_REPLY = 7,
    STORE_ABORT = 8,
    STORE_LEAVE = 9
};

/* A kind uses the first few of each array. */
typedef struct store_message {
    uint32_t kind;
    uint32_t number[3];
    uint8_t digest[2][STORE_DIGEST_BYTES];
    wire_blob blob[2]; /* borrowed: of the frame when parsed */
} store_message;

/* A frame without its length. TN_E_CORRUPT says what is wrong; nothing is allocated. [any] */
tn_status store_message_parse(const uint8_t *frame, size_t n, store_message *ret_message, tn_error *err);
/* Appends a frame with its length. Blobs must be within the limits of their kind (asserted). TN_E_MEMORY. [any] */
tn_status store_message_write(wire_buffer *out, const store_message *message, tn_error *err);

/* The proof of a HELLO (the member's), or of a WELCOME (the store's), under the secret. hello: all but digest[1]. */
enum { STORE_PROOF_MEMBER = 1, STORE_PROOF_STORE = 2 };
void store_message_prove(const uint8_t *secret, size_t n_secret, uint32_t whose,
                         const uint8_t challenge[STORE_DIGEST_BYTES], const store_message *hello,
                         uint8_t ret_proof[STORE_DIGEST_BYTES]);
/* Whether two digests are equal, in a time that does not depend on where they differ. */
bool store_message_same_digest(const uint8_t a[STORE_DIGEST_BYTES], const uint8_t b[STORE_DIGEST_BYTES]);

#endif
