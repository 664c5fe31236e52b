/* frontend.c: start, drain and stop. The order of stopping matters: libmicrohttpd dies if it is stopped while a
 * connection is suspended, so the poller first resumes them all. */
#include "frontend.h"

#include "admin_call.h"
#include "auth.h"
#include "base/clock.h"
#include "exchange.h"
#include "model.h"
#include "poller.h"
#include "request_head.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SPARE_DESCRIPTORS = 256, CALLS_MAX = 65536 };
/* GnuTLS's words. The two oldest versions are deprecated (RFC 8996), and yet in what it calls normal. */
static char tls_priorities[] = "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1";

/* libmicrohttpd's words: why it did not start, or, later, noise about clients. */
static void take_words(void *cls, const char *format, va_list args) TN_PRINTF(2, 0);
static void take_words(void *cls, const char *format, va_list args)
{
    tn_front *front = cls;
    char words[256];

    vsnprintf(words, sizeof words, format, args);
    words[strcspn(words, "\r\n")] = '\0';
    if (atomic_load(&front->starting))
        snprintf(front->mhd_words, sizeof front->mhd_words, "%s", words);
    else if (*front->host->log_level >= TN_LOG_DEBUG)
        front->host->log(front->host, TN_LOG_DEBUG, "http", words);
}

/* A core that knows tn.models gives that; an older one, or a program of its own, gives its engine. */
static void adopt(tn_front *front, const tn_frontend_args *args)
{
    bool has_models = TN_HAS(args, tn_frontend_args, models_api) && args->models_api;
    front->host = args->host;
    front->engine = args->engine;
    front->engine_api = args->engine_api;
    front->chat = args->chat;
    front->stats = args->stats;
    front->only = (one_model){args->engine, args->engine_api};
    front->models = has_models ? args->models : one_model_models(&front->only);
    front->models_api = has_models ? args->models_api : &one_model_table;
    front->auth = front->host->get_interface ? front->host->get_interface(front->host, TN_AUTH_ID) : NULL;
    if (TN_HAS(args, tn_frontend_args, admin_api) && args->admin_api) {
        front->admin = args->admin;
        front->admin_api = args->admin_api;
    }
    front->models_generation = front->models_api->generation(front->models);
}

/* What is wrong with the one model shows at the start, not with the first request. */
static tn_status open_model(tn_front *front, tn_error *err)
{
    http_model *model;
    api_error error;
    if (!front->engine)
        return TN_OK;
    if (model_find(front, NULL, &model, &error) != TN_OK)
        return tn_fail(err, error.http_status == 503 ? TN_E_MEMORY : TN_E_ARGUMENT, "%.500s", error.message);
    model_release(model);
    return TN_OK;
}

/* Splits `listen` and binds every address before the first thread starts. */
static tn_status open_doors(tn_front *front, tn_error *err)
{
    char *rest = NULL;

    for (char *spec = strtok_r(front->options.listen, ", \t", &rest); spec; spec = strtok_r(NULL, ", \t", &rest)) {
        if (front->door_count == HTTP_LISTENERS_MAX)
            return tn_fail(err, TN_E_ARGUMENT, "http_frontend: listen: more than %d addresses", HTTP_LISTENERS_MAX);
        http_door *door = &front->doors[front->door_count];
        tn_status status = listener_open(spec, &door->listener, err);
        if (status != TN_OK)
            return status;
        front->door_count++;
        bool is_unix = door->listener.unix_path[0] != '\0';
        size_t used = strlen(front->address);
        snprintf(front->address + used, sizeof front->address - used, "%s%s%s", used ? ", " : "",
                 is_unix                   ? ""
                 : front->options.tls_cert ? "https://"
                                           : "http://",
                 door->listener.address);
        if (!door->listener.loopback && !auth_asks(front)) {
            char words[256];
            snprintf(words, sizeof words,
                     "%s is reachable from other machines and no api_key is set, nor [auth] token_file: anyone may "
                     "use this server",
                     door->listener.address);
            front->host->log(front->host, TN_LOG_WARNING, "http", words);
        }
    }
    if (front->door_count == 0)
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: listen names no address");
    return TN_OK;
}

/* Debian gives a process 1,024 descriptors by default, fewer than connections allowed here; the hard limit is higher.
 */
static tn_status raise_descriptors(const tn_front *front, tn_error *err)
{
    struct rlimit limit;
    rlim_t needed = (rlim_t)front->options.max_connections * front->door_count + SPARE_DESCRIPTORS;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return TN_OK;
    if (limit.rlim_max < needed)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "http_frontend: max_connections = %u needs %llu file descriptors, but the process may have %llu; "
            "lower it or raise the limit (ulimit -n, LimitNOFILE=)",
            front->options.max_connections, (unsigned long long)needed, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return tn_fail(err, TN_E_IO, "http_frontend: cannot raise the limit of file descriptors: %s", strerror(errno));
    return TN_OK;
}

static tn_status create_calls(tn_front *front, tn_error *err)
{
    uint64_t wanted = (uint64_t)front->options.max_connections * front->door_count;
    uint32_t capacity = wanted < CALLS_MAX ? (uint32_t)wanted : CALLS_MAX;

    front->calls = calloc(capacity, sizeof(struct http_call *));
    front->free_slots = calloc(capacity, sizeof *front->free_slots);
    if (!front->calls || !front->free_slots)
        return tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory for %u calls", capacity);
    front->call_capacity = front->free_count = capacity;
    for (uint32_t i = 0; i < capacity; i++)
        front->free_slots[i] = capacity - 1 - i;
    return TN_OK;
}

static tn_status start_daemon(tn_front *front, http_door *door, tn_error *err)
{
    const http_options *options = &front->options;
    unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem items[9] = {
        {MHD_OPTION_LISTEN_SOCKET, door->listener.fd, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)options->max_header_bytes, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, options->max_connections, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_s, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
    };
    size_t count = 5;

    if (options->threads > 1)
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, options->threads, NULL};
    if (options->tls_cert) {
        flags |= MHD_USE_TLS;
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, options->tls_cert};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, options->tls_key};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, tls_priorities};
    }
    struct MHD_OptionItem list[10] = {0};
    memcpy(list, items, count * sizeof *items);
    list[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};

    front->mhd_words[0] = '\0';
    atomic_store(&front->starting, true);
    door->daemon = MHD_start_daemon(flags, 0, NULL, NULL, exchange_on_request, front, /* */
                                    MHD_OPTION_EXTERNAL_LOGGER, take_words, front, MHD_OPTION_NOTIFY_COMPLETED,
                                    exchange_on_completed, front, MHD_OPTION_NOTIFY_CONNECTION, exchange_on_connection,
                                    front, MHD_OPTION_UNESCAPE_CALLBACK, request_head_unescape, front, MHD_OPTION_ARRAY,
                                    list, MHD_OPTION_END);
    atomic_store(&front->starting, false);
    if (door->daemon)
        return TN_OK;
    if (options->tls_cert)
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: cannot serve TLS with tls_cert = %s and tls_key = %s: %s",
                       options->tls_cert_path, options->tls_key_path,
                       front->mhd_words[0] ? front->mhd_words : "they do not form a usable pair");
    return tn_fail(err, TN_E_IO, "http_frontend: cannot serve %s: %s", door->listener.address,
                   front->mhd_words[0] ? front->mhd_words : "libmicrohttpd gives no reason");
}

static tn_status open_all(tn_front *front, const tn_frontend_args *args, tn_error *err)
{
    adopt(front, args);
    tn_status status = http_options_read(args->host, &front->options, err);
    if (status == TN_OK && front->options.tls_cert && MHD_is_feature_supported(MHD_FEATURE_SSL) != MHD_YES)
        status =
            tn_fail(err, TN_E_UNSUPPORTED, "http_frontend: tls_cert is set, but libmicrohttpd was built without TLS");
    if (status == TN_OK)
        status = open_doors(front, err);
    if (status == TN_OK)
        status = raise_descriptors(front, err);
    if (status == TN_OK)
        status = create_calls(front, err);
    if (status == TN_OK)
        status = poller_open(front, err);
    if (status == TN_OK)
        status = open_model(front, err);
    if (status == TN_OK)
        status = poller_start(front, err);
    for (uint32_t i = 0; status == TN_OK && i < front->door_count; i++)
        status = start_daemon(front, &front->doors[i], err);
    return status;
}

static void stop(tn_front *front)
{
    if (!front)
        return;
    atomic_store(&front->draining, true);
    poller_stop(front);
    admin_calls_stop(front);
    for (uint32_t i = 0; i < front->door_count; i++) {
        if (front->doors[i].daemon) {
            MHD_stop_daemon(front->doors[i].daemon);
            front->doors[i].listener.fd = -1; /* closed by libmicrohttpd */
        }
        listener_close(&front->doors[i].listener);
    }
    TN_ASSERT(front->call_count == 0);
    if (front->models_api)
        models_close(front);
    poller_finish(front);
    http_options_finish(&front->options);
    free(front->calls);
    free(front->free_slots);
    pthread_cond_destroy(&front->idle);
    pthread_mutex_destroy(&front->lock);
    free(front);
}

static tn_status start(const tn_frontend_args *args, tn_front **ret_front, tn_error *err)
{
    if (!args || !TN_HAS(args, tn_frontend_args, stats) || !ret_front)
        return tn_fail(err, TN_E_ARGUMENT, "http_frontend: start needs all of tn_frontend_args");
    tn_front *front = calloc(1, sizeof *front);
    if (!front)
        return tn_fail(err, TN_E_MEMORY, "http_frontend: out of memory");
    front->epoll_fd = front->wake_fd = -1;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&front->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&front->lock, NULL);

    tn_status status = open_all(front, args, err);
    if (status != TN_OK) {
        stop(front);
        return status;
    }
    *ret_front = front;
    return TN_OK;
}

static const char *address(const tn_front *front)
{
    return front->address;
}

static tn_status drain(tn_front *front, uint32_t ms, tn_error *err)
{
    const struct timespec until = clock_after_ms(ms);
    int code = 0;

    atomic_store(&front->draining, true);
    front_lock(front);
    while (front->call_count > 0 && code == 0)
        code = pthread_cond_timedwait(&front->idle, &front->lock, &until);
    uint32_t left = front->call_count;
    front_unlock(front);
    if (left > 0)
        return tn_fail(err, TN_E_AGAIN, "http_frontend: %u requests still run after %u ms", left, ms);
    return TN_OK;
}

const tn_frontend_table http_frontend_table = {
    .struct_size = sizeof http_frontend_table, .start = start, .address = address, .drain = drain, .stop = stop};
