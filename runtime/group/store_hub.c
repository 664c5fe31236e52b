/* store_hub.c: see store_hub.h. Keys are an array and lookups are scans: a group exchanges some hundred values, once.
 */
#include "group/store_hub.h"

#include "group/store.h"

typedef struct hub_entry {
    char *key; /* owned, terminated, the value behind it */
    uint8_t *value;
    uint32_t n_value;
} hub_entry;

/* A get that waits. */
typedef struct hub_wait {
    uint32_t id, timeout_ms;
    uint64_t deadline_ms;
    char key[TN_RENDEZVOUS_KEY_MAX + 1];
} hub_wait;

struct store_peer {
    store_peer *next;
    wire_buffer in, out;
    uint8_t challenge[STORE_DIGEST_BYTES];
    uint64_t since_ms; /* of a stranger: when it came */
    bool known, over;
    uint32_t rank; /* if known */
    hub_wait waits[STORE_CALLS_MAX];
    uint32_t wait_count;
};

typedef enum hub_presence { HUB_ABSENT, HUB_PRESENT, HUB_LEFT } hub_presence;

typedef struct hub_seat {
    hub_presence presence;
    char host[STORE_HOST_MAX + 1];
} hub_seat;

struct store_hub {
    const char *group;
    uint32_t world;
    const uint8_t *secret;
    size_t n_secret;
    hub_seat *seats; /* [world] */
    uint32_t joined; /* seats that are or were taken */
    store_peer *peers;
    uint32_t strangers;
    hub_entry *entries;
    uint32_t entry_count, entry_capacity;
    uint64_t bytes;  /* of keys and values */
    tn_status ended; /* why the group is over */
    char reason[STORE_REASON_MAX + 1];
};

/* ---- life ---- */

tn_status store_hub_create(const char *group, uint32_t world, const uint8_t *secret, size_t n_secret,
                           store_hub **ret_hub, tn_error *err)
{
    store_hub *hub = calloc(1, sizeof *hub);
    hub_seat *seats = calloc(world, sizeof *seats);
    if (!hub || !seats) {
        free(hub);
        free(seats);
        return tn_fail(err, TN_E_MEMORY, "out of memory for a group of %u processes", world);
    }
    *hub = (store_hub){.group = group, .world = world, .secret = secret, .n_secret = n_secret, .seats = seats};
    *ret_hub = hub;
    return TN_OK;
}

static void free_peer(store_peer *peer)
{
    wire_buffer_finish(&peer->in);
    wire_buffer_finish(&peer->out);
    free(peer);
}

void store_hub_destroy(store_hub *hub)
{
    if (!hub)
        return;
    while (hub->peers) {
        store_peer *peer = hub->peers;
        hub->peers = peer->next;
        free_peer(peer);
    }
    for (uint32_t i = 0; i < hub->entry_count; i++)
        free(hub->entries[i].key);
    free(hub->entries);
    free(hub->seats);
    free(hub);
}

/* ---- saying ---- */

static wire_blob blob_of(const char *text)
{
    return (wire_blob){text, (uint32_t)strlen(text)};
}

/* A peer that cannot be told anything more is given up. */
static void say(store_peer *peer, const store_message *message)
{
    if (peer->over)
        return;
    if (peer->out.end - peer->out.begin > STORE_HUB_BYTES_MAX ||
        store_message_write(&peer->out, message, NULL) != TN_OK)
        peer->over = true;
}

static void reply(store_peer *peer, uint32_t id, tn_status status, wire_blob blob)
{
    say(peer, &(store_message){.kind = STORE_REPLY, .number = {id, (uint32_t)status}, .blob = {blob}});
}

static void refuse(store_peer *peer, tn_status status, const char *text)
{
    say(peer, &(store_message){.kind = STORE_REFUSED, .number = {(uint32_t)status}, .blob = {blob_of(text)}});
    peer->over = true;
}

/* The first reason stands. Whoever waits is told by the same message. */
static void end_group(store_hub *hub, tn_status status, const char *reason)
{
    if (hub->ended != TN_OK)
        return;
    hub->ended = status;
    snprintf(hub->reason, sizeof hub->reason, "%s", reason);
    for (store_peer *peer = hub->peers; peer; peer = peer->next) {
        peer->wait_count = 0;
        if (peer->known)
            say(peer,
                &(store_message){.kind = STORE_ABORT, .number = {(uint32_t)status}, .blob = {blob_of(hub->reason)}});
    }
}

/* ---- joining ---- */

static bool same_text(wire_blob blob, const char *text)
{
    return blob.n == strlen(text) && !memcmp(blob.bytes, text, blob.n);
}

/* Another world size among those that know the secret is a mistake of the whole job, while it starts. */
static void refuse_world(store_hub *hub, store_peer *peer, const store_message *hello)
{
    char text[STORE_REASON_MAX];
    snprintf(text, sizeof text,
             "rank %u on %.*s has world size %u, rank 0 has %u: give all processes of the group the same",
             hello->number[1], (int)(hello->blob[1].n < 60 ? hello->blob[1].n : 60), hello->blob[1].bytes,
             hello->number[2], hub->world);
    refuse(peer, TN_E_ARGUMENT, text);
    if (hub->joined < hub->world)
        end_group(hub, TN_E_CANCELLED, text);
}

/* Why this (proven) member may not come in; true if it may. */
static bool check_seat(store_hub *hub, store_peer *peer, const store_message *hello)
{
    char text[STORE_REASON_MAX];
    uint32_t rank = hello->number[1];
    if (!same_text(hello->blob[0], hub->group))
        snprintf(text, sizeof text,
                 "the store at this address is that of group %.100s: two jobs share an address; give each its own port",
                 hub->group);
    else if (hub->ended != TN_OK)
        snprintf(text, sizeof text, "%.*s", STORE_REASON_MAX - 1, hub->reason);
    else if (hello->number[2] != hub->world) {
        refuse_world(hub, peer, hello);
        return false;
    } else if (rank >= hub->world)
        snprintf(text, sizeof text, "rank %u is outside of the group's %u", rank, hub->world);
    else if (hub->seats[rank].presence != HUB_ABSENT)
        snprintf(text, sizeof text,
                 "a process on %.60s is rank %u of group %.100s already: give every process its own rank",
                 hub->seats[rank].host, rank, hub->group);
    else
        return true;
    refuse(peer, TN_E_ARGUMENT, text);
    return false;
}

static void take_seat(store_hub *hub, store_peer *peer, const store_message *hello)
{
    hub_seat *seat = &hub->seats[hello->number[1]];
    store_message welcome = {.kind = STORE_WELCOME};
    seat->presence = HUB_PRESENT;
    snprintf(seat->host, sizeof seat->host, "%.*s", (int)hello->blob[1].n, hello->blob[1].bytes);
    hub->joined++;
    hub->strangers--;
    peer->known = true;
    peer->rank = hello->number[1];
    store_message_prove(hub->secret, hub->n_secret, STORE_PROOF_STORE, peer->challenge, hello, welcome.digest[0]);
    say(peer, &welcome);
}

static void on_hello(store_hub *hub, store_peer *peer, const store_message *hello)
{
    uint8_t proof[STORE_DIGEST_BYTES];
    if (hello->kind != STORE_HELLO || hello->number[0] != STORE_VERSION) {
        refuse(peer, TN_E_UNSUPPORTED, "another version of Tenon runs as rank 0: start the same version everywhere");
        return;
    }
    store_message_prove(hub->secret, hub->n_secret, STORE_PROOF_MEMBER, peer->challenge, hello, proof);
    if (!store_message_same_digest(proof, hello->digest[1]))
        refuse(peer, TN_E_ARGUMENT,
               "the secret differs from rank 0's: give all processes the same group.secret_file or TENON_GROUP_SECRET");
    else if (check_seat(hub, peer, hello))
        take_seat(hub, peer, hello);
}

/* ---- keys ---- */

static const hub_entry *find_entry(const store_hub *hub, const char *key)
{
    for (uint32_t i = 0; i < hub->entry_count; i++) {
        if (!strcmp(hub->entries[i].key, key))
            return &hub->entries[i];
    }
    return NULL;
}

static tn_status add_entry(store_hub *hub, const char *key, wire_blob value, tn_error *err)
{
    size_t n_key = strlen(key) + 1;
    if (find_entry(hub, key))
        return tn_fail(err, TN_E_ARGUMENT, "the key %s has a value already; a key is put once", key);
    if (hub->bytes + n_key + value.n > STORE_HUB_BYTES_MAX || hub->entry_count == STORE_HUB_KEYS_MAX)
        return tn_fail(err, TN_E_MEMORY, "the store of the group is full (%d MiB, %d keys)", STORE_HUB_BYTES_MAX >> 20,
                       STORE_HUB_KEYS_MAX);
    if (hub->entry_count == hub->entry_capacity) {
        uint32_t capacity = hub->entry_capacity ? hub->entry_capacity * 2 : 64;
        hub_entry *grown = realloc(hub->entries, capacity * sizeof *grown);
        if (!grown)
            return tn_fail(err, TN_E_MEMORY, "rank 0 is out of memory for the store of the group");
        hub->entries = grown;
        hub->entry_capacity = capacity;
    }
    char *held = malloc(n_key + value.n);
    if (!held)
        return tn_fail(err, TN_E_MEMORY, "rank 0 is out of memory for the store of the group");
    memcpy(held, key, n_key);
    memcpy(held + n_key, value.bytes, value.n);
    hub->entries[hub->entry_count++] = (hub_entry){held, (uint8_t *)held + n_key, value.n};
    hub->bytes += n_key + value.n;
    return TN_OK;
}

static wire_blob value_of(const hub_entry *entry)
{
    return (wire_blob){(const char *)entry->value, entry->n_value};
}

static void wake_waits(store_hub *hub, const hub_entry *entry)
{
    for (store_peer *peer = hub->peers; peer; peer = peer->next) {
        for (uint32_t i = 0; i < peer->wait_count;) {
            if (strcmp(peer->waits[i].key, entry->key)) {
                i++;
                continue;
            }
            reply(peer, peer->waits[i].id, TN_OK, value_of(entry));
            peer->waits[i] = peer->waits[--peer->wait_count];
        }
    }
}

static void on_put(store_hub *hub, store_peer *peer, const char *key, const store_message *put)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = add_entry(hub, key, put->blob[1], &err);
    reply(peer, put->number[0], status, blob_of(err.msg));
    if (status == TN_OK)
        wake_waits(hub, find_entry(hub, key));
}

static void on_get(store_hub *hub, store_peer *peer, const char *key, const store_message *get, uint64_t now_ms)
{
    const hub_entry *entry = find_entry(hub, key);
    if (entry) {
        reply(peer, get->number[0], TN_OK, value_of(entry));
        return;
    }
    if (peer->wait_count == STORE_CALLS_MAX) {
        reply(peer, get->number[0], TN_E_AGAIN, blob_of("too many threads of this process wait for keys"));
        return;
    }
    hub_wait *wait = &peer->waits[peer->wait_count++];
    *wait = (hub_wait){.id = get->number[0], .timeout_ms = get->number[1], .deadline_ms = now_ms + get->number[1]};
    snprintf(wait->key, sizeof wait->key, "%s", key);
}

/* ---- connections ---- */

static void on_leave(store_hub *hub, store_peer *peer)
{
    hub->seats[peer->rank].presence = HUB_LEFT;
    peer->over = true;
}

static void on_abort(store_hub *hub, const store_message *message)
{
    char reason[STORE_REASON_MAX + 1];
    snprintf(reason, sizeof reason, "%.*s", (int)message->blob[0].n, message->blob[0].bytes);
    end_group(hub, TN_E_CANCELLED, reason);
}

/* A message of a member. One that breaks the protocol is cut off, which ends the group. */
static void on_member(store_hub *hub, store_peer *peer, const store_message *message, uint64_t now_ms)
{
    char key[TN_RENDEZVOUS_KEY_MAX + 1];
    if (message->kind == STORE_LEAVE) {
        on_leave(hub, peer);
    } else if (message->kind == STORE_ABORT) {
        on_abort(hub, message);
    } else if (message->kind != STORE_PUT && message->kind != STORE_GET) {
        peer->over = true;
    } else if (hub->ended != TN_OK) {
        reply(peer, message->number[0], hub->ended, blob_of(hub->reason));
    } else if (store_check_key(message->blob[0].bytes, message->blob[0].n, NULL) != TN_OK) {
        peer->over = true;
    } else {
        snprintf(key, sizeof key, "%.*s", (int)message->blob[0].n, message->blob[0].bytes);
        if (message->kind == STORE_PUT)
            on_put(hub, peer, key, message);
        else
            on_get(hub, peer, key, message, now_ms);
    }
}

bool store_hub_has_room(const store_hub *hub)
{
    return hub->strangers < STORE_HUB_STRANGERS;
}

tn_status store_hub_connect(store_hub *hub, const uint8_t nonce[STORE_DIGEST_BYTES], uint64_t now_ms,
                            store_peer **ret_peer, tn_error *err)
{
    store_message challenge = {.kind = STORE_CHALLENGE};
    if (!store_hub_has_room(hub))
        return tn_fail(err, TN_E_AGAIN, "%d connections to the store of the group have not said who they are",
                       STORE_HUB_STRANGERS);
    store_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return tn_fail(err, TN_E_MEMORY, "rank 0 is out of memory for the store of the group");
    memcpy(peer->challenge, nonce, sizeof peer->challenge);
    memcpy(challenge.digest[0], nonce, sizeof peer->challenge);
    peer->since_ms = now_ms;
    peer->next = hub->peers;
    hub->peers = peer;
    hub->strangers++;
    say(peer, &challenge);
    *ret_peer = peer;
    return TN_OK;
}

uint8_t *store_hub_room(store_peer *peer, size_t *ret_n)
{
    size_t n = peer->known ? 65536 : STORE_GREETING_MAX;
    if (wire_buffer_reserve(&peer->in, n, NULL) != TN_OK)
        return NULL;
    *ret_n = n;
    return peer->in.bytes + peer->in.end;
}

void store_hub_received(store_hub *hub, store_peer *peer, size_t n, uint64_t now_ms)
{
    const uint8_t *frame;
    size_t n_frame;
    store_message message;
    peer->in.end += n;
    while (!peer->over) {
        size_t limit = peer->known ? STORE_FRAME_MAX : STORE_GREETING_MAX;
        tn_status status = wire_buffer_take_frame(&peer->in, limit, &frame, &n_frame, NULL);
        if (status == TN_E_AGAIN)
            return;
        if (status == TN_OK)
            status = store_message_parse(frame, n_frame, &message, NULL);
        if (status != TN_OK)
            peer->over = true;
        else if (peer->known)
            on_member(hub, peer, &message, now_ms);
        else
            on_hello(hub, peer, &message);
    }
}

const uint8_t *store_hub_pending(const store_peer *peer, size_t *ret_n)
{
    *ret_n = peer->out.end - peer->out.begin;
    return *ret_n ? peer->out.bytes + peer->out.begin : NULL;
}

void store_hub_sent(store_peer *peer, size_t n)
{
    TN_ASSERT(n <= peer->out.end - peer->out.begin);
    peer->out.begin += n;
}

bool store_hub_is_over(const store_peer *peer)
{
    return peer->over;
}

void store_hub_disconnect(store_hub *hub, store_peer *peer)
{
    char reason[STORE_REASON_MAX];
    store_peer **link = &hub->peers;
    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    if (!peer->known) {
        hub->strangers--;
    } else if (hub->seats[peer->rank].presence == HUB_PRESENT) {
        hub->seats[peer->rank].presence = HUB_LEFT;
        snprintf(reason, sizeof reason, "rank %u on %.100s is gone: its connection to rank 0 ended without a farewell",
                 peer->rank, hub->seats[peer->rank].host);
        end_group(hub, TN_E_DEVICE_LOST, reason);
    }
    free_peer(peer);
}

/* Answers the peer's gets that are due; returns the next deadline. */
static uint64_t tick_waits(const store_hub *hub, store_peer *peer, uint64_t now_ms)
{
    char text[STORE_REASON_MAX];
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < peer->wait_count;) {
        const hub_wait *wait = &peer->waits[i];
        if (wait->deadline_ms > now_ms) {
            next = wait->deadline_ms < next ? wait->deadline_ms : next;
            i++;
            continue;
        }
        snprintf(text, sizeof text, "no member put %s within %u ms; %u of %u have joined group %s", wait->key,
                 wait->timeout_ms, hub->joined, hub->world, hub->group);
        reply(peer, wait->id, TN_E_NOT_FOUND, blob_of(text));
        peer->waits[i] = peer->waits[--peer->wait_count];
    }
    return next;
}

uint64_t store_hub_tick(store_hub *hub, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX, patience_ms = store_hub_has_room(hub) ? STORE_GREETING_MS : STORE_GREETING_CROWDED_MS;
    for (store_peer *peer = hub->peers; peer; peer = peer->next) {
        uint64_t due = tick_waits(hub, peer, now_ms);
        if (!peer->known && !peer->over) {
            peer->over = peer->since_ms + patience_ms <= now_ms;
            due = peer->over ? now_ms : peer->since_ms + patience_ms;
        }
        next = due < next ? due : next;
    }
    return next;
}

uint32_t store_hub_present(const store_hub *hub)
{
    uint32_t present = 0;
    for (uint32_t rank = 0; rank < hub->world; rank++)
        present += hub->seats[rank].presence == HUB_PRESENT;
    return present;
}
