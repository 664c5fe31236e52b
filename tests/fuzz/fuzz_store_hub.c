/* fuzz_store_hub.c: the input is what happens to the TCP store of a group: records of a connection, an event and a
 * length. Connections may be anybody's, or a member's whose greeting the target makes, since no mutation finds a proof.
 *
 *   byte 0: connection (low 2 bits), event (the rest, modulo EVENTS)   bytes 1, 2: length n, then n bytes
 */
#include "group/store.h"
#include "group/store_hub.h"

enum { CONNECTIONS = 4, WORLD = 3 };
enum { EVENT_BYTES, EVENT_FRAME, EVENT_JOIN, EVENT_HANG_UP, EVENT_TIME, EVENTS };

static const uint8_t secret[] = "0123456789abcdef";

typedef struct table {
    store_hub *hub;
    store_peer *peers[CONNECTIONS];
    uint64_t now_ms;
} table;

static void deliver(table *t, store_peer *peer, const uint8_t *bytes, size_t n)
{
    while (n && !store_hub_is_over(peer)) {
        size_t room;
        uint8_t *to = store_hub_room(peer, &room);
        TN_ASSERT(to && room);
        size_t part = n < room ? n : room;
        memcpy(to, bytes, part);
        store_hub_received(t->hub, peer, part, t->now_ms);
        bytes += part;
        n -= part;
    }
}

/* What the hub says must be what a member can read. */
static void hear(store_peer *peer)
{
    size_t n, n_frame;
    const uint8_t *frame, *pending = store_hub_pending(peer, &n);
    wire_buffer buffer = {0};
    store_message message;
    tn_error err = TN_ERROR_INIT;
    if (!n)
        return;
    TN_ASSERT(wire_buffer_reserve(&buffer, n, NULL) == TN_OK);
    memcpy(buffer.bytes, pending, n);
    buffer.end = n;
    while (wire_buffer_take_frame(&buffer, STORE_FRAME_MAX, &frame, &n_frame, &err) == TN_OK)
        TN_ASSERT(store_message_parse(frame, n_frame, &message, &err) == TN_OK);
    TN_ASSERT(buffer.begin == buffer.end && !*err.msg);
    wire_buffer_finish(&buffer);
    store_hub_sent(peer, n);
}

static void join(table *t, store_peer *peer, const uint8_t challenge[STORE_DIGEST_BYTES], uint32_t rank, uint32_t world)
{
    wire_buffer out = {0};
    store_message hello = {.kind = STORE_HELLO, .number = {STORE_VERSION, rank, world}, .blob = {{"g", 1}, {"h", 1}}};
    store_message_prove(secret, sizeof secret - 1, STORE_PROOF_MEMBER, challenge, &hello, hello.digest[1]);
    TN_ASSERT(store_message_write(&out, &hello, NULL) == TN_OK);
    deliver(t, peer, out.bytes, out.end);
    wire_buffer_finish(&out);
}

static void happen(table *t, uint32_t index, uint32_t event, const uint8_t *bytes, size_t n)
{
    static const uint8_t challenge[STORE_DIGEST_BYTES] = {1};
    const uint8_t length[4] = {(uint8_t)n, (uint8_t)(n >> 8)};
    store_peer **peer = &t->peers[index];
    if (!*peer && store_hub_connect(t->hub, challenge, t->now_ms, peer, NULL) != TN_OK)
        return;
    if (event == EVENT_FRAME)
        deliver(t, *peer, length, sizeof length);
    if (event == EVENT_BYTES || event == EVENT_FRAME)
        deliver(t, *peer, bytes, n);
    if (event == EVENT_JOIN)
        join(t, *peer, challenge, n ? bytes[0] : 0, n > 1 ? bytes[1] : WORLD);
    if (event == EVENT_TIME) {
        t->now_ms += n ? bytes[0] * 64u : 1;
        TN_ASSERT(store_hub_tick(t->hub, t->now_ms) >= t->now_ms);
    }
    hear(*peer);
    if (event == EVENT_HANG_UP || store_hub_is_over(*peer)) {
        store_hub_disconnect(t->hub, *peer);
        *peer = NULL;
    }
}

static void parse(const uint8_t *bytes, size_t n)
{
    store_message message;
    tn_error err = TN_ERROR_INIT;
    tn_status status = store_message_parse(bytes, n, &message, &err);
    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    if (status != TN_OK)
        return;
    wire_buffer again = {0};
    TN_ASSERT(store_message_write(&again, &message, &err) == TN_OK);
    TN_ASSERT(again.end == n + 4 && !memcmp(again.bytes + 4, bytes, n));
    wire_buffer_finish(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    table t = {0};
    TN_ASSERT(store_hub_create("g", WORLD, secret, sizeof secret - 1, &t.hub, NULL) == TN_OK);
    while (n >= 3) {
        size_t part = bytes[1] | (size_t)bytes[2] << 8;
        uint32_t index = bytes[0] % CONNECTIONS, event = bytes[0] / CONNECTIONS % EVENTS;
        bytes += 3;
        n -= 3;
        part = part < n ? part : n;
        if (event == EVENT_FRAME)
            parse(bytes, part);
        happen(&t, index, event, bytes, part);
        bytes += part;
        n -= part;
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        if (t.peers[i])
            hear(t.peers[i]);
    }
    store_hub_destroy(t.hub);
    return 0;
}
