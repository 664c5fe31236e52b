/* request_window.c: libcurl's multi interface behind one epoll fd.
 *
 * libcurl says which sockets to watch and when it wants to be called (its socket and timer callbacks); an epoll fd
 * holds the sockets, so that a host which can wait for one fd only (PostgreSQL's latch) waits for all of them. Easy
 * handles stay with their slots and connections with the multi handle, so rows reuse both.
 */
#include "client/request_window.h"

#include "base/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ORDER_DEPTH = 4, /* rows held by an ordered window, in windows */
    CONNECT_MS = 10000,
    BACKOFF_MS = 250, /* the first wait; doubled each time */
    WAIT_MS_MAX = 60000,
    EVENTS = 64
};
#define NEVER   UINT64_MAX
#define NO_SLOT UINT32_MAX

typedef enum slot_state { SLOT_FREE, SLOT_FLYING, SLOT_WAITING, SLOT_DONE } slot_state;

typedef struct request_slot {
    slot_state state;
    CURL *easy;
    client_request request;
    client_reply reply;
    size_t capacity; /* of reply.bytes */
    uint64_t begin_ms, deadline_ms, retry_ms;
    uint32_t index, next; /* of the free or the done list */
} request_slot;

struct request_window {
    client_server server;
    window_limits limits;
    CURLM *multi;
    struct curl_slist *headers;
    int epoll_fd;
    uint64_t timer_ms, jitter;
    request_slot *slots;
    uint32_t *slot_of_row; /* [slot_count], by row number modulo that */
    uint32_t slot_count, active_count, waiting_count, outstanding;
    uint32_t free_first, done_first, done_last;
    uint64_t rows_added, rows_taken;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;

static void start_curl(void)
{
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
    request_window *window = context;
    struct epoll_event event = {.data.fd = fd};

    (void)easy;
    (void)known;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(window->epoll_fd, EPOLL_CTL_DEL, fd, &event); /* may be closed, and so gone, already */
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (epoll_ctl(window->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    return errno == ENOENT && epoll_ctl(window->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

static int set_timer(CURLM *multi, long ms, void *context)
{
    request_window *window = context;

    (void)multi;
    window->timer_ms = ms < 0 ? NEVER : clock_ms() + (uint64_t)ms;
    return 0;
}

static size_t keep_bytes(char *bytes, size_t size, size_t n, void *context)
{
    request_slot *slot = context;
    client_reply *reply = &slot->reply;
    size_t count = size * n; /* size is 1 */

    if (count > CLIENT_REPLY_BYTES_MAX - reply->count) {
        reply->kind = REPLY_TOO_LARGE;
        return 0;
    }
    if (reply->count + count + 1 > slot->capacity) {
        size_t capacity = 2 * (reply->count + count + 1);
        char *larger = realloc(reply->bytes, capacity);
        if (!larger) {
            reply->kind = REPLY_MEMORY;
            return 0;
        }
        reply->bytes = larger;
        slot->capacity = capacity;
    }
    memcpy(reply->bytes + reply->count, bytes, count);
    reply->count += count;
    reply->bytes[reply->count] = '\0';
    return count;
}

static tn_status make_headers(request_window *window)
{
    char key[sizeof window->server.api_key + 32];
    const char *lines[] = {"Content-Type: application/json", "Expect:", window->server.api_key[0] ? key : NULL};

    snprintf(key, sizeof key, "Authorization: Bearer %s", window->server.api_key);
    for (size_t i = 0; i < sizeof lines / sizeof *lines && lines[i]; i++) {
        struct curl_slist *longer = curl_slist_append(window->headers, lines[i]);
        if (!longer)
            return TN_E_MEMORY;
        window->headers = longer;
    }
    return TN_OK;
}

static tn_status make_multi(request_window *window, tn_error *err)
{
    window->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (window->epoll_fd < 0)
        return tn_fail(err, TN_E_IO, "no descriptor for the requests to the server: %s", strerror(errno));
    window->multi = curl_multi_init();
    if (!window->multi || make_headers(window) != TN_OK)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the requests to the server");
    curl_multi_setopt(window->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(window->multi, CURLMOPT_SOCKETDATA, window);
    curl_multi_setopt(window->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(window->multi, CURLMOPT_TIMERDATA, window);
    curl_multi_setopt(window->multi, CURLMOPT_MAXCONNECTS, (long)window->limits.window);
    return TN_OK;
}

tn_status request_window_create(const client_server *server, const window_limits *limits, request_window **ret_window,
                                tn_error *err)
{
    TN_ASSERT(limits->window >= 1 && limits->window <= CLIENT_WINDOW_MAX && limits->retries <= CLIENT_RETRIES_MAX);
    uint32_t slot_count = limits->window * (limits->ordered ? ORDER_DEPTH : 1);

    pthread_once(&curl_once, start_curl);
    if (curl_started != CURLE_OK)
        return tn_fail(err, TN_E_INTERNAL, "libcurl cannot be started: %s", curl_easy_strerror(curl_started));
    request_window *window = calloc(1, sizeof *window);
    if (!window)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the requests to the server");
    *window = (request_window){.server = *server,
                               .limits = *limits,
                               .epoll_fd = -1,
                               .timer_ms = NEVER,
                               .jitter = clock_ms() ^ (uint64_t)(uintptr_t)window,
                               .slot_count = slot_count,
                               .done_first = NO_SLOT,
                               .done_last = NO_SLOT};
    window->slots = calloc(slot_count, sizeof *window->slots);
    window->slot_of_row = calloc(slot_count, sizeof *window->slot_of_row);
    tn_status status = window->slots && window->slot_of_row
                           ? make_multi(window, err)
                           : tn_fail(err, TN_E_MEMORY, "out of memory for a window of %u requests", limits->window);
    if (status != TN_OK) {
        request_window_destroy(window);
        return status;
    }
    for (uint32_t i = 0; i < slot_count; i++) {
        window->slots[i].index = i;
        window->slots[i].next = i + 1 < slot_count ? i + 1 : NO_SLOT;
    }
    *ret_window = window;
    return TN_OK;
}

/* Back to the free list, whatever the slot was doing. An easy handle that is removed in flight takes its connection
 * along. */
static void free_slot(request_window *window, request_slot *slot)
{
    if (slot->state == SLOT_FLYING)
        curl_multi_remove_handle(window->multi, slot->easy);
    window->active_count -= slot->state == SLOT_FLYING || slot->state == SLOT_WAITING;
    window->waiting_count -= slot->state == SLOT_WAITING;
    window->outstanding -= slot->state != SLOT_FREE;
    free(slot->request.body);
    free(slot->reply.bytes);
    slot->request = (client_request){.body = NULL};
    slot->reply = (client_reply){.bytes = NULL};
    slot->capacity = 0;
    slot->state = SLOT_FREE;
    slot->next = window->free_first;
    window->free_first = slot->index;
}

void request_window_clear(request_window *window)
{
    for (uint32_t i = 0; i < window->slot_count; i++)
        if (window->slots[i].state != SLOT_FREE)
            free_slot(window, &window->slots[i]);
    window->done_first = window->done_last = NO_SLOT;
    window->rows_taken = window->rows_added;
}

void request_window_destroy(request_window *window)
{
    if (!window)
        return;
    for (uint32_t i = 0; window->slots && i < window->slot_count; i++) {
        request_slot *slot = &window->slots[i];
        if (slot->state != SLOT_FREE)
            free_slot(window, slot);
        curl_easy_cleanup(slot->easy);
    }
    curl_multi_cleanup(window->multi);
    curl_slist_free_all(window->headers);
    if (window->epoll_fd >= 0)
        close(window->epoll_fd);
    free(window->slot_of_row);
    free(window->slots);
    free(window);
}

void request_window_adjust(request_window *window, uint32_t retries, uint32_t timeout_ms)
{
    TN_ASSERT(retries <= CLIENT_RETRIES_MAX);
    window->limits.retries = retries;
    window->limits.timeout_ms = timeout_ms;
}

uint32_t request_window_slots(const request_window *window)
{
    return window->slot_count;
}

uint32_t request_window_outstanding(const request_window *window)
{
    return window->outstanding;
}

bool request_window_has_room(const request_window *window)
{
    return window->active_count < window->limits.window && window->outstanding < window->slot_count;
}

static void finish(request_window *window, request_slot *slot, reply_kind kind, const char *fault)
{
    window->active_count -= slot->state == SLOT_FLYING || slot->state == SLOT_WAITING;
    window->waiting_count -= slot->state == SLOT_WAITING;
    slot->state = SLOT_DONE;
    slot->reply.kind = kind;
    slot->reply.latency_ms = (uint32_t)(clock_ms() - slot->begin_ms);
    snprintf(slot->reply.fault, sizeof slot->reply.fault, "%s", fault);
    free(slot->request.body);
    slot->request.body = NULL;
    slot->next = NO_SLOT;
    if (window->done_last == NO_SLOT)
        window->done_first = slot->index;
    else
        window->slots[window->done_last].next = slot->index;
    window->done_last = slot->index;
}

static void prepare(request_window *window, request_slot *slot, uint64_t left_ms)
{
    char url[sizeof window->server.url + 64];
    CURL *easy = slot->easy;

    snprintf(url, sizeof url, "%s%.60s", window->server.url, slot->request.path);
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    if (window->server.socket_path[0])
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, window->server.socket_path);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* the server is the one that was named */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L); /* signals are the database's */
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, window->headers);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    if (slot->request.body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(slot->request.body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, slot->request.body);
    }
}

/* One attempt: the slot flies afterwards, or is done. */
static void launch(request_window *window, request_slot *slot)
{
    uint64_t now = clock_ms();

    if (!slot->easy)
        slot->easy = curl_easy_init();
    if (!slot->easy) {
        finish(window, slot, REPLY_MEMORY, "out of memory");
        return;
    }
    if (now >= slot->deadline_ms) {
        finish(window, slot, REPLY_TIMEOUT, "the row's time was over before the server could be asked again");
        return;
    }
    slot->reply.count = 0;
    slot->reply.attempts++;
    prepare(window, slot, slot->deadline_ms - now);
    if (curl_multi_add_handle(window->multi, slot->easy) != CURLM_OK) {
        finish(window, slot, REPLY_MEMORY, "out of memory");
        return;
    }
    window->waiting_count -= slot->state == SLOT_WAITING;
    window->active_count += slot->state != SLOT_WAITING;
    slot->state = SLOT_FLYING;
}

static request_slot *claim(request_window *window)
{
    TN_ASSERT(request_window_has_room(window) && window->free_first != NO_SLOT);
    request_slot *slot = &window->slots[window->free_first];

    window->free_first = slot->next;
    window->slot_of_row[window->rows_added++ % window->slot_count] = slot->index;
    window->outstanding++;
    slot->begin_ms = clock_ms();
    slot->deadline_ms = slot->begin_ms + window->limits.timeout_ms;
    return slot;
}

uint32_t request_window_add(request_window *window, client_request request)
{
    request_slot *slot = claim(window);

    slot->request = request;
    launch(window, slot);
    return slot->index;
}

uint32_t request_window_skip(request_window *window)
{
    request_slot *slot = claim(window);

    finish(window, slot, REPLY_SKIPPED, "");
    return slot->index;
}

int request_window_fd(const request_window *window)
{
    return window->epoll_fd;
}

uint32_t request_window_timeout_ms(const request_window *window)
{
    uint64_t now = clock_ms(), next = window->timer_ms;

    for (uint32_t i = 0; window->waiting_count > 0 && i < window->slot_count; i++)
        if (window->slots[i].state == SLOT_WAITING && window->slots[i].retry_ms < next)
            next = window->slots[i].retry_ms;
    if (next <= now)
        return 0;
    return next - now < WAIT_MS_MAX ? (uint32_t)(next - now) : WAIT_MS_MAX;
}

/* Half to all of a wait that doubles; xorshift64* is random enough to keep clients apart. */
static uint64_t backoff_ms(request_window *window, uint32_t attempts)
{
    uint64_t whole = (uint64_t)BACKOFF_MS << (attempts - 1);

    window->jitter ^= window->jitter >> 12;
    window->jitter ^= window->jitter << 25;
    window->jitter ^= window->jitter >> 27;
    return whole / 2 + (window->jitter * 2685821657736338717u >> 33) % (whole / 2 + 1);
}

/* Puts the slot to sleep until its next attempt; false if it may have none. */
static bool retry_later(request_window *window, request_slot *slot)
{
    curl_off_t asked_s = 0;
    uint64_t wait = backoff_ms(window, slot->reply.attempts);

    if (slot->reply.attempts > window->limits.retries)
        return false;
    curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &asked_s);
    if (asked_s > 0 && asked_s < UINT32_MAX && (uint64_t)asked_s * 1000 > wait)
        wait = (uint64_t)asked_s * 1000 + wait % BACKOFF_MS;
    if (clock_ms() + wait >= slot->deadline_ms)
        return false;
    slot->retry_ms = clock_ms() + wait;
    slot->state = SLOT_WAITING;
    window->waiting_count++;
    return true;
}

static bool is_no_connection(const request_slot *slot, CURLcode code)
{
    if (code == CURLE_OPERATION_TIMEDOUT) /* of the connect alone, unless the row's time is over */
        return slot->reply.count == 0 && clock_ms() + 5 < slot->deadline_ms;
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_SSL_CONNECT_ERROR ||
           code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_UNSUPPORTED_PROTOCOL;
}

static void finish_unreachable(request_window *window, request_slot *slot, const char *why)
{
    const client_server *server = &window->server;
    char fault[sizeof slot->reply.fault];

    snprintf(fault, sizeof fault, "no server answers at %s%.107s: %.80s", server->socket_path[0] ? "unix:" : "",
             server->socket_path[0] ? server->socket_path : server->url, why);
    finish(window, slot, REPLY_UNREACHABLE, fault);
}

static void land(request_window *window, request_slot *slot, CURLcode code)
{
    client_reply *reply = &slot->reply;
    const char *why = curl_easy_strerror(code);
    long http_status = 0;

    curl_multi_remove_handle(window->multi, slot->easy);
    if (code == CURLE_OK) {
        curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &http_status);
        reply->http_status = (uint32_t)http_status;
        if ((http_status != 429 && http_status != 503) || !retry_later(window, slot))
            finish(window, slot, REPLY_HTTP, "");
    } else if (reply->kind == REPLY_TOO_LARGE) {
        finish(window, slot, REPLY_TOO_LARGE, "the server's answer is larger than 64 MiB");
    } else if (code == CURLE_OUT_OF_MEMORY || reply->kind == REPLY_MEMORY) {
        finish(window, slot, REPLY_MEMORY, "out of memory");
    } else if (is_no_connection(slot, code)) {
        if (!retry_later(window, slot))
            finish_unreachable(window, slot, why);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        finish(window, slot, REPLY_TIMEOUT, "the server did not answer in time");
    } else {
        finish(window, slot, REPLY_BROKEN, why);
    }
}

static void collect(request_window *window)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(window->multi, &left))) {
        CURLcode code = message->data.result; /* message goes with the handle's removal */
        char *slot = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
        land(window, (request_slot *)(void *)slot, code);
    }
}

/* Lets libcurl act. What it answers to an event is not looked at: a socket that it has let go meanwhile is no fault,
 * and what went wrong with a request arrives with its message. It may start a thread here, to look a name up, and a
 * thread inherits the mask: the host's signals are for the host's own threads. */
static void act(request_window *window)
{
    struct epoll_event events[EVENTS];
    int running, count = epoll_wait(window->epoll_fd, events, EVENTS, 0);
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < count; i++) {
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(window->multi, events[i].data.fd, what, &running);
    }
    if (window->timer_ms <= clock_ms()) {
        window->timer_ms = NEVER;
        curl_multi_socket_action(window->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void request_window_step(request_window *window)
{
    act(window);
    uint64_t now = clock_ms();
    collect(window);
    for (uint32_t i = 0; window->waiting_count > 0 && i < window->slot_count; i++)
        if (window->slots[i].state == SLOT_WAITING && window->slots[i].retry_ms <= now)
            launch(window, &window->slots[i]);
}

/* Takes a done slot out of the list of those; it is the first one unless the window is ordered. */
static void unlink_done(request_window *window, const request_slot *slot)
{
    uint32_t *link = &window->done_first, before = NO_SLOT;

    while (*link != slot->index) {
        before = *link;
        link = &window->slots[*link].next;
    }
    *link = slot->next;
    if (window->done_last == slot->index)
        window->done_last = before;
}

bool request_window_take(request_window *window, uint32_t *ret_slot, client_reply *ret_reply)
{
    uint32_t index =
        window->limits.ordered ? window->slot_of_row[window->rows_taken % window->slot_count] : window->done_first;

    if (window->outstanding == 0 || index == NO_SLOT || window->slots[index].state != SLOT_DONE)
        return false;
    request_slot *slot = &window->slots[index];
    unlink_done(window, slot);
    *ret_reply = slot->reply;
    *ret_slot = index;
    slot->reply.bytes = NULL;
    window->rows_taken++;
    free_slot(window, slot);
    return true;
}
