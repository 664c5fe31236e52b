/* open.c: a store taken over from whoever had it before: wishes read, engines that still run adopted, and what belongs
 * to nobody ended and removed. */
#include "service/state.h"

#include "base/clock.h"
#include "file/directory.h"
#include "service/engine_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

enum { END_WAIT_MS = 10 * 1000, END_SLACK_MS = 10 * 1000 };

/* ---- the store ---- */

static tn_status find_store(const settings *settings, char ret_path[STORE_BYTES], tn_error *err)
{
    const char *store = settings_string(settings, "server", "store");
    const char *tenon_home = getenv("TENON_HOME"), *home = getenv("HOME");
    int bytes;
    if (store)
        bytes = snprintf(ret_path, STORE_BYTES, "%s", store);
    else if (tenon_home && *tenon_home == '/')
        bytes = snprintf(ret_path, STORE_BYTES, "%s/daemon", tenon_home);
    else if (home && *home == '/')
        bytes = snprintf(ret_path, STORE_BYTES, "%s/.local/share/tenon/daemon", home);
    else
        return tn_fail(err, TN_E_ARGUMENT, "no store: set server.store, or TENON_HOME, to a folder");
    if (bytes < 0 || bytes >= STORE_BYTES)
        return tn_fail(err, TN_E_ARGUMENT, "server.store: the path is too long");
    return TN_OK;
}

const char *services_store(const services *s)
{
    return s->store;
}

static tn_status make_folders(services *s, tn_error *err)
{
    snprintf(s->services_folder, sizeof s->services_folder, "%s/services", s->store);
    snprintf(s->instances_folder, sizeof s->instances_folder, "%s/instances", s->store);
    snprintf(s->logs_folder, sizeof s->logs_folder, "%s/logs", s->store);
    snprintf(s->plans_folder, sizeof s->plans_folder, "%s/plans", s->store);
    tn_status status = engine_process_check_store(s->instances_folder, err);
    if (status == TN_OK)
        status = directory_make(s->services_folder, err);
    if (status == TN_OK)
        status = directory_make(s->instances_folder, err);
    if (status == TN_OK)
        status = directory_make(s->logs_folder, err);
    if (status == TN_OK)
        status = directory_remove(s->plans_folder, err);
    return status == TN_OK ? directory_make(s->plans_folder, err) : status;
}

static tn_status lock_store(services *s, tn_error *err)
{
    char path[PATH_MAX];
    tn_error reason = TN_ERROR_INIT;
    tn_status status = directory_make(s->store, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "server.store: %.300s; set it to a folder that this user may make and write",
                       reason.msg);
    snprintf(path, sizeof path, "%s/lock", s->store);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (s->lock < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        return tn_fail(err, TN_E_AGAIN,
                       "another daemon runs on %.300s; stop it, or give this one a server.store of its own", s->store);
    return TN_OK;
}

/* ---- entries of a folder ---- */

typedef tn_status (*entry_handler)(services *s, const char *name, tn_error *err);

static tn_status each_entry(services *s, const char *folder, entry_handler handler, tn_error *err)
{
    DIR *entries = opendir(folder);
    tn_status status = entries ? TN_OK : tn_fail(err, TN_E_IO, "%.400s: %s", folder, strerror(errno));
    for (struct dirent *entry; status == TN_OK && (entry = readdir(entries));)
        if (entry->d_name[0] != '.')
            status = handler(s, entry->d_name, err);
    if (entries)
        closedir(entries);
    return status;
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static tn_status read_service(services *s, const char *name, tn_error *err)
{
    char path[PATH_MAX];
    if (ends_in(name, ".partial")) { /* of one who died before it was whole */
        snprintf(path, sizeof path, "%s/%.250s", s->services_folder, name);
        unlink(path);
        return TN_OK;
    }
    if (!ends_in(name, ".json"))
        return tn_fail(err, TN_E_CORRUPT, "%.300s/%.100s is not ours; remove it", s->services_folder, name);
    if (s->count == SERVICES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%.300s holds more than %d services", s->services_folder, SERVICES_MAX);
    wish wish;
    tn_status status = wish_read(s->services_folder, name, &wish, err);
    if (status != TN_OK)
        return status;
    service *service = service_create(&wish);
    if (!service) {
        wish_finish(&wish);
        return tn_fail(err, TN_E_MEMORY, "a service");
    }
    service_because(service, "found in the store");
    services_insert(s, service);
    return TN_OK;
}

/* A lease may be missing if the daemon died between the wish and it, or be left of a service that is no more. What is
 * lost is told when it is needed. */
static void lease_again(services *s)
{
    tn_error err = TN_ERROR_INIT;
    if (admission_release_gone(s, &err) != TN_OK)
        services_tell(s, "daemon: leases of the registry that no service has any more: %s", err.msg);
    for (uint32_t i = 0; i < s->count; i++)
        for (const wish *wish = &s->all[i]->wish; wish && !wish->deleting; wish = wish->before)
            if (admission_lease(s, wish, &err) != TN_OK)
                services_tell(s, "service %s: %s", wish->name, err.msg);
}

/* ---- engines ---- */

static void end_orphan(const services *s, engine_process *process)
{
    services_tell(s, "daemon: instance %s belongs to no service and is ended", process->record.claim.instance);
    engine_process_signal(process, SIGKILL);
    poll(&(struct pollfd){process->pidfd, POLLIN, 0}, 1, END_WAIT_MS);
    engine_process_remove(process, NULL);
}

static tn_status adopt(services *s, const char *id, tn_error *err)
{
    engine_process process;
    tn_status status = engine_process_adopt(s->instances_folder, id, &process, err);
    if (status != TN_OK)
        return status == TN_E_NOT_FOUND ? TN_OK : status;
    const ledger_claim *claim = &process.record.claim;
    service *service = services_find(s, claim->service, NULL);
    if (!service || strcmp(claim->instance, id) != 0 || service->count > SERVICE_INSTANCES_MAX) {
        end_orphan(s, &process);
        return TN_OK;
    }
    status = ledger_restore(&s->ledger, claim, err);
    if (status != TN_OK) {
        engine_process_leave(&process);
        return status;
    }
    if (process.record.restart_count > service->restart_count)
        service->restart_count = process.record.restart_count;
    uint64_t now = clock_ms();
    engine_instance *instance = &service->instances[service->count++];
    *instance = (engine_instance){.process = process, .phase = INSTANCE_LOADING, .since_ms = now, .heard_ms = now};
    engine_process_status(&process, &instance->status);
    return TN_OK;
}

static tn_status drop_log(services *s, const char *name, tn_error *err)
{
    char path[PATH_MAX];
    (void)err;
    snprintf(path, sizeof path, "%s/%.250s", s->logs_folder, name);
    if (!services_find(s, name, NULL))
        unlink(path);
    return TN_OK;
}

/* ---- open and close ---- */

static tn_status find_program(services *s, const char *program, tn_error *err)
{
    if (program) {
        snprintf(s->program, sizeof s->program, "%s", program);
        return TN_OK;
    }
    ssize_t bytes = readlink("/proc/self/exe", s->program, sizeof s->program - 1);
    if (bytes <= 0)
        return tn_fail(err, TN_E_IO, "/proc/self/exe: %s", strerror(errno));
    s->program[bytes] = '\0';
    return TN_OK;
}

static uint64_t seconds(const settings *settings, const char *section, const char *key)
{
    return (uint64_t)(settings_number(settings, section, key) * 1000);
}

static services *services_alloc(const services_options *options)
{
    services *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    const settings *settings = options->settings;
    s->settings = settings;
    s->tell = options->tell;
    s->lock = s->event = -1;
    s->limits = (machine_limits){.start_ms = seconds(settings, "server", "start_timeout"),
                                 .hang_ms = seconds(settings, "server", "hang_timeout"),
                                 .drain_ms = seconds(settings, "engine", "drain_timeout"),
                                 .stop_ms = seconds(settings, "engine", "drain_timeout") + END_SLACK_MS,
                                 .restart_delay_ms = seconds(settings, "server", "restart_delay")};
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->wake_mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    return s;
}

tn_status services_open(const services_options *options, services **ret_services, tn_error *err)
{
    services *s = services_alloc(options);
    if (!s)
        return tn_fail(err, TN_E_MEMORY, "services");
    s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tn_status status = s->event >= 0 ? TN_OK : tn_fail(err, TN_E_IO, "eventfd: %s", strerror(errno));
    if (status == TN_OK)
        status = find_program(s, options->program, err);
    if (status == TN_OK)
        status = find_store(options->settings, s->store, err);
    if (status == TN_OK)
        status = lock_store(s, err);
    if (status == TN_OK)
        status = make_folders(s, err);
    if (status == TN_OK)
        status = each_entry(s, s->services_folder, read_service, err);
    if (status == TN_OK)
        lease_again(s);
    if (status == TN_OK)
        status = each_entry(s, s->instances_folder, adopt, err);
    if (status == TN_OK)
        status = each_entry(s, s->logs_folder, drop_log, err);
    s->gateway = options->gateway;
    if (status == TN_OK) {
        routes_open_all(s); /* who asks for a service as soon as there is a door finds it */
        status = supervisor_start(s, err);
    }
    if (status != TN_OK) {
        s->gateway = NULL; /* it stays the caller's */
        services_close(s);
        return status;
    }
    *ret_services = s;
    return TN_OK;
}

static void leave_service(services *s, service *service)
{
    routes_remove(service);
    for (uint32_t i = 0; i < service->count; i++)
        engine_process_leave(&service->instances[i].process);
    service_finish(s, service);
}

void services_close(services *s)
{
    if (!s)
        return;
    supervisor_stop(s);
    while (s->count)
        leave_service(s, s->all[s->count - 1]);
    errands_end(s);
    gateway_destroy(s->gateway);
    ledger_finish(&s->ledger);
    if (s->event >= 0)
        close(s->event);
    if (s->lock >= 0)
        close(s->lock);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->wake_mutex);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static bool has_engines(const services *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->all[i]->count)
            return true;
    return false;
}

void services_stop_engines(services *s, uint32_t drain_s)
{
    struct timespec pause = {0, 50 * 1000000L};
    uint64_t deadline = clock_ms() + (uint64_t)drain_s * 1000 + s->limits.stop_ms + END_SLACK_MS;
    pthread_mutex_lock(&s->mutex);
    s->ending = true;
    for (uint32_t i = 0; i < s->count; i++)
        s->all[i]->wish.drain_s = drain_s;
    services_signal(s);
    while (has_engines(s) && clock_ms() < deadline) {
        pthread_mutex_unlock(&s->mutex);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
}
