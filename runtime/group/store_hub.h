/* runtime/group/store_hub.h: the TCP store without the TCP: what rank 0 knows, and what it answers to the bytes of each
 * connection. One thread owns it; time comes from the caller, in milliseconds of any clock that runs forward.
 *
 * Bounds: STORE_HUB_STRANGERS connections of nobody known, each for STORE_GREETING_MS, and while there are that many,
 * for STORE_GREETING_CROWDED_MS, so that silence keeps nobody out for long; one connection per rank;
 * STORE_CALLS_MAX open gets of each; STORE_HUB_BYTES_MAX of keys and values.
 */
#ifndef GROUP_STORE_HUB_H
#define GROUP_STORE_HUB_H

#include "group/store_message.h"

enum {
    STORE_HUB_STRANGERS = 64,
    STORE_GREETING_MS = 10000,
    STORE_GREETING_CROWDED_MS = 1000,
    STORE_HUB_BYTES_MAX = 64 << 20,
    STORE_HUB_KEYS_MAX = 65536
};

typedef struct store_hub store_hub;
typedef struct store_peer store_peer; /* one connection */

/* group, secret: borrowed until destroy. [ctl] */
tn_status store_hub_create(const char *group, uint32_t world, const uint8_t *secret, size_t n_secret,
                           store_hub **ret_hub, tn_error *err);
void store_hub_destroy(store_hub *hub); /* with every peer; NULL is fine */

/* Whether another connection may come; while it is false, members wait at the door and are not sent away. */
bool store_hub_has_room(const store_hub *hub);
/* A new connection. nonce: fresh random bytes. TN_E_AGAIN: there is no room. Owned by the hub. */
tn_status store_hub_connect(store_hub *hub, const uint8_t nonce[STORE_DIGEST_BYTES], uint64_t now_ms,
                            store_peer **ret_peer, tn_error *err);
/* Room for bytes that arrive, which store_hub_received then takes in: write at most *ret_n to the place returned; NULL:
 * there is no memory, and the peer is to be closed. */
uint8_t *store_hub_room(store_peer *peer, size_t *ret_n);
void store_hub_received(store_hub *hub, store_peer *peer, size_t n, uint64_t now_ms);
/* What is to be sent, and that n bytes of it have been. */
const uint8_t *store_hub_pending(const store_peer *peer, size_t *ret_n);
void store_hub_sent(store_peer *peer, size_t n);
/* True once the peer is to be closed, after what is pending has been sent. */
bool store_hub_is_over(const store_peer *peer);
/* The connection has ended. Unless the member had left, that ends the group. Frees the peer. */
void store_hub_disconnect(store_hub *hub, store_peer *peer);
/* Gets and strangers whose time is up. Returns when to come back, UINT64_MAX: no need. */
uint64_t store_hub_tick(store_hub *hub, uint64_t now_ms);
/* Members that have joined and not left. */
uint32_t store_hub_present(const store_hub *hub);

#endif
