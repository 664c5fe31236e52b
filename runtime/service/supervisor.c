/* supervisor.c: the thread that sees, asks machine.c, and does. It waits for processes to end and for wishes; once a
 * second it looks at load and health. */
#include "service/state.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 8, /* of seeing and doing, before other services are looked at */
    BUSY_MS = 100,  /* something is on its way */
    CALM_MS = 1000,
    RETRY_MS = 2000, /* of what failed and nobody tells when it will not */
    POLLED_MAX = 1 + SERVICES_MAX * 4
};

void services_signal(services *s)
{
    eventfd_write(s->event, 1);
}

/* ---- seeing ---- */

static void note_keeper_end(service *service, const engine_instance *instance)
{
    char last[ENGINE_WORDS_BYTES];
    engine_process_last_words(&instance->process, last);
    if (last[0])
        snprintf(service->ended, sizeof service->ended, "its keeper ended: %s", last);
    else
        snprintf(service->ended, sizeof service->ended, "its process and its keeper were killed");
}

static void note_end(service *service, engine_instance *instance)
{
    const char *words = strcmp(instance->status.stage, "failed") == 0 ? instance->status.message : NULL;
    service->has_exit_code = engine_process_exit_code(&instance->process, &service->exit_code);
    const int32_t code = service->exit_code;

    if (instance->why[0])
        snprintf(service->ended, sizeof service->ended, "%s", instance->why);
    else if (words)
        snprintf(service->ended, sizeof service->ended, "%.390s", words);
    else if (!service->has_exit_code)
        note_keeper_end(service, instance);
    else if (code == -SIGKILL)
        snprintf(service->ended, sizeof service->ended,
                 "killed by signal 9; if nobody sent it, the machine was out of memory");
    else if (code < 0)
        snprintf(service->ended, sizeof service->ended, "ended by signal %d (%s)", -code, strsignal(-code));
    else
        snprintf(service->ended, sizeof service->ended, "ended with exit code %d", code);
    service->ended[utf8_whole_prefix(service->ended, strlen(service->ended))] = '\0';
}

/* What would be so again. */
static bool is_hopeless(const engine_status *status)
{
    if (strcmp(status->stage, "failed") != 0)
        return false;
    return status->failure == TN_E_ARGUMENT || status->failure == TN_E_UNSUPPORTED || status->failure == TN_E_MEMORY ||
           status->failure == TN_E_NOT_FOUND || status->failure == TN_E_CORRUPT;
}

static void see_health(services *s, service *service, engine_instance *instance, uint64_t now)
{
    tn_health health = {.struct_size = sizeof health};
    tn_error err = TN_ERROR_INIT;
    tn_status status =
        instance->route ? gateway_health(instance->route, instance_id(instance), &health, &err) : TN_E_DEVICE_LOST;
    if (status == TN_OK && health.ready)
        instance->heard_ms = now;
    if (status == TN_E_DEVICE_LOST || status == TN_E_NOT_FOUND)
        routes_attach_again(s, service, instance, now);
}

static void see_instance(services *s, service *service, engine_instance *instance, uint64_t now)
{
    if (!instance->exited && engine_process_exited(&instance->process)) {
        instance->exited = true;
        engine_process_status(&instance->process, &instance->status);
        if (instance->phase == INSTANCE_LOADING || instance->phase == INSTANCE_READY)
            note_end(service, instance);
        return;
    }
    if (instance->phase == INSTANCE_LOADING)
        engine_process_status(&instance->process, &instance->status);
    else if (instance->phase == INSTANCE_READY)
        see_health(s, service, instance, now);
    else if (instance->phase == INSTANCE_DRAINING &&
             (!instance->route || gateway_drain(instance->route, instance_id(instance), &instance->running) != TN_OK))
        instance->running = 0;
}

static void see(services *s, service *service, machine_instance *seen, machine_view *ret_view)
{
    const wish *wish = &service->wish;
    uint64_t now = clock_ms();

    for (uint32_t i = 0; i < service->count; i++) {
        engine_instance *instance = &service->instances[i];
        see_instance(s, service, instance, now);
        seen[i] = (machine_instance){.phase = instance->phase,
                                     .generation = instance->process.record.generation,
                                     .running = instance->running,
                                     .exited = instance->exited,
                                     .hopeless = instance->phase == INSTANCE_LOADING && is_hopeless(&instance->status),
                                     .answers = strcmp(instance->status.stage, "ready") == 0,
                                     .since_ms = instance->since_ms,
                                     .heard_ms = instance->heard_ms};
    }
    if (service->route)
        gateway_route_activity(service->route, &service->activity);
    *ret_view = (machine_view){.now_ms = now,
                               .limits = s->limits,
                               .suspended = wish->suspended || s->ending,
                               .deleting = wish->deleting,
                               .failed = wish->failure.failed,
                               .update_failed = wish->failure.update_failed,
                               .min = wish->min,
                               .max = wish->max,
                               .generation = wish->generation,
                               .autosuspend_ms = (uint64_t)wish->autosuspend_s * 1000,
                               .drain_ms = (uint64_t)wish->drain_s * 1000,
                               .running = service->activity.running,
                               .waiting = service->activity.waiting,
                               .idle_ms = service->activity.idle_ms,
                               .slots = wish->plan.max_num_seqs,
                               .instances = seen,
                               .count = service->count};
}

/* ---- doing ---- */

static void list_devices(const ledger_claim *claim, char text[512])
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < claim->device_count; i++)
        used += (size_t)snprintf(text + used, 512 - used, "%s%u", i ? "," : "", claim->ordinals[i]);
}

static void put_phase(engine_instance *instance, instance_phase phase, uint64_t now)
{
    instance->phase = phase;
    instance->since_ms = instance->heard_ms = now;
}

/* Its place: the one that is kept for it, or a new one. */
static tn_status take_place(services *s, service *service, const char *id, const ledger_claim **ret_claim,
                            tn_error *err)
{
    const wish *wish = &service->wish;
    const ledger_claim *kept = ledger_find(&s->ledger, wish->name, "");
    uint64_t had = 0;
    if (kept && kept->bytes == wish->plan.device_bytes && kept->device_count == wish->plan.world) {
        ledger_rename(&s->ledger, wish->name, "", id);
        *ret_claim = kept;
        return TN_OK;
    }
    ledger_release(&s->ledger, wish->name, "");
    tn_status status = admission_reserve(s, wish, id, ret_claim, &had, NULL, err);
    service->blocked = status == TN_E_MEMORY;
    service->needed_bytes = wish->plan.device_bytes;
    service->had_bytes = had;
    return status;
}

static tn_status start_process(services *s, service *service, engine_instance *instance, tn_error *err)
{
    char id[INSTANCE_ID_BYTES], devices[512];
    const ledger_claim *claim;
    pool pool;
    ledger_pool of_pool;
    engine_process_name(s->instances_folder, service->wish.name, id);
    tn_status status = admission_pool(s, &service->wish, &pool, &of_pool, err);
    if (status == TN_OK)
        status = take_place(s, service, id, &claim, err);
    if (status != TN_OK)
        return status;
    const engine_record record = {.generation = service->wish.generation,
                                  .restart_count = service->restart_count,
                                  .started_ms = calendar_ms(),
                                  .claim = *claim};
    list_devices(claim, devices);
    status = engine_process_start(s->program, s->instances_folder, &record, s->settings, &service->wish, &pool, devices,
                                  &instance->process, err);
    if (status != TN_OK)
        ledger_release(&s->ledger, service->wish.name, id);
    return status;
}

/* A service that nobody asks for does not wait for memory with a queue behind it: the next request tries again. */
static void refuse_start(services *s, service *service, uint64_t now, const tn_error *err)
{
    service->machine.retry_ms = now + RETRY_MS;
    snprintf(service->trouble, sizeof service->trouble, "%s", err->msg);
    if (!service->blocked || service->count > 0 || service->wish.min > 0)
        return;
    service->wish.suspended = true;
    service->resuming = false;
    service_because(service, "%.390s", err->msg);
    services_write(s, service, NULL);
}

static void start(services *s, service *service, uint64_t now)
{
    tn_error err = TN_ERROR_INIT;
    if (service->count == SERVICE_INSTANCES_MAX + 1)
        return;
    engine_instance *instance = &service->instances[service->count];
    *instance = (engine_instance){.running = 0};
    service->blocked = false;
    if (start_process(s, service, instance, &err) != TN_OK) {
        refuse_start(s, service, now, &err);
        return;
    }
    put_phase(instance, INSTANCE_LOADING, now);
    service->trouble[0] = '\0';
    service->count++;
}

static void kill_instance(engine_instance *instance, const machine_limits *limits)
{
    if (!instance->why[0] && instance->phase == INSTANCE_LOADING)
        snprintf(instance->why, sizeof instance->why, "it did not load within %llu s, and was killed",
                 (unsigned long long)limits->start_ms / 1000);
    else if (!instance->why[0])
        snprintf(instance->why, sizeof instance->why, "it did not answer for %llu s, and was killed",
                 (unsigned long long)limits->hang_ms / 1000);
    routes_detach(instance);
    engine_process_signal(&instance->process, SIGKILL);
}

static void forget(services *s, service *service, engine_instance *instance, bool kept)
{
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/%s", s->logs_folder, service->wish.name);
    bool died = instance->phase == INSTANCE_LOADING || instance->phase == INSTANCE_READY;
    routes_detach(instance);
    if (died) {
        service->restart_count++;
        services_tell(s, "service %s: instance %s: %s", service->wish.name, instance_id(instance), service->ended);
    }
    if (kept && !ledger_find(&s->ledger, service->wish.name, ""))
        ledger_rename(&s->ledger, service->wish.name, instance_id(instance), "");
    else
        ledger_release(&s->ledger, service->wish.name, instance_id(instance));
    engine_process_remove(&instance->process, service->wish.deleting ? NULL : log);
    instance->forgotten = true;
}

/* Another generation than the wished one is no longer needed: nor need the registry keep what it ran. */
static void forget_wish(const services *s, const wish *kept, wish *gone)
{
    if (!digest_equal(&gone->digest, &kept->digest))
        admission_release(s, gone);
    wish_finish(gone);
    free(gone);
}

/* What was wished for before the update, with what was asked of it meanwhile. */
static bool take_back(services *s, service *service)
{
    wish *failed = malloc(sizeof *failed), *before = service->wish.before;
    if (!failed || !before) {
        free(failed);
        return false;
    }
    *failed = service->wish;
    failed->before = NULL;
    service->wish = *before;
    free(before);
    service->wish.generation_last = failed->generation_last;
    service->wish.suspended = failed->suspended;
    service->wish.deleting = failed->deleting;
    service->wish.drain_s = failed->drain_s;
    forget_wish(s, &service->wish, failed);
    routes_take_back(s, service);
    return true;
}

static void give_up(services *s, service *service)
{
    bool taken_back = take_back(s, service);
    wish_failure *failure = &service->wish.failure;
    *failure = (wish_failure){.failed = !taken_back,
                              .update_failed = taken_back,
                              .has_exit_code = service->has_exit_code,
                              .exit_code = service->exit_code,
                              .needed_bytes = service->needed_bytes,
                              .had_bytes = service->had_bytes};
    snprintf(failure->message, sizeof failure->message, "%s", service->ended);
    ledger_release(&s->ledger, service->wish.name, "");
    services_write(s, service, NULL);
    if (taken_back)
        services_tell(s, "service %s: an update was given up: %s", service->wish.name, failure->message);
    else
        service_because(service, "%s", failure->message);
}

static void suspend_idle(services *s, service *service)
{
    service->wish.suspended = true;
    service->wish.drain_s = (uint32_t)(s->limits.drain_ms / 1000);
    /* Not written: it goes on as it is, and is asked again. */
    if (services_write(s, service, NULL) == TN_OK)
        service_because(service, "nobody has asked for it for %u s", service->wish.autosuspend_s);
    else
        service->wish.suspended = false;
}

/* Instances first, then the lease, the wish last: who dies on the way finds the rest of it to do. */
static bool remove_service(services *s, service *service)
{
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/%s", s->logs_folder, service->wish.name);
    unlink(log);
    admission_release(s, &service->wish);
    if (service->wish.before)
        admission_release(s, service->wish.before);
    if (wish_remove(&service->wish, s->services_folder, NULL) != TN_OK)
        return false;
    routes_remove(service);
    services_tell(s, "service %s: deleted", service->wish.name);
    service_finish(s, service);
    return true;
}

static void attach_ready(services *s, service *service, engine_instance *instance, uint64_t now)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = routes_attach(s, service, instance, now, &err);
    if (status == TN_OK) {
        put_phase(instance, INSTANCE_READY, now);
        service->resuming = false;
        service->trouble[0] = '\0';
    } else if (err.msg[0]) {
        snprintf(service->trouble, sizeof service->trouble, "%s", err.msg);
    }
}

/* True: the service is gone. */
static bool act(services *s, service *service, const machine_action *action, uint64_t now)
{
    engine_instance *instance = &service->instances[action->instance];
    switch (action->act) {
    case MACHINE_START:
        start(s, service, now);
        break;
    case MACHINE_ATTACH:
        attach_ready(s, service, instance, now);
        break;
    case MACHINE_DRAIN:
        put_phase(instance, INSTANCE_DRAINING, now);
        if (!instance->route || gateway_drain(instance->route, instance_id(instance), &instance->running) != TN_OK)
            instance->running = 0;
        break;
    case MACHINE_STOP:
        routes_detach(instance);
        engine_process_signal(&instance->process, SIGTERM);
        put_phase(instance, INSTANCE_STOPPING, now);
        break;
    case MACHINE_KILL:
        kill_instance(instance, &s->limits);
        break;
    case MACHINE_FORGET:
        forget(s, service, instance, action->kept);
        break;
    case MACHINE_GIVE_UP:
    case MACHINE_GIVE_UP_UPDATE:
        give_up(s, service);
        break;
    case MACHINE_SUSPEND:
        suspend_idle(s, service);
        break;
    case MACHINE_REMOVE:
        return remove_service(s, service);
    }
    return false;
}

static void drop_forgotten(service *service)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < service->count; i++) {
        if (service->instances[i].forgotten)
            continue;
        if (kept != i)
            service->instances[kept] = service->instances[i];
        kept++;
    }
    service->count = kept;
}

/* ---- a service ---- */

/* An update is done when one of it has come up and nothing of the generation before is left. */
static void settle_update(services *s, service *service)
{
    wish *before = service->wish.before;
    bool up = false;
    for (uint32_t i = 0; i < service->count; i++) {
        if (!instance_is_fresh(service, &service->instances[i]))
            return;
        up = up || service->instances[i].phase == INSTANCE_READY;
    }
    if (!before || !up)
        return;
    service->wish.before = NULL;
    if (services_write(s, service, NULL) == TN_OK)
        forget_wish(s, &service->wish, before);
    else
        service->wish.before = before;
}

static void resume_if_asked(services *s, service *service)
{
    tn_error err = TN_ERROR_INIT;
    bool asked = service->asked || service->activity.waiting > 0;
    service->asked = false;
    if (!asked || !service->wish.suspended || service->wish.deleting || service->wish.failure.failed || s->ending)
        return;
    if (services_resume(s, service, &err) == TN_OK)
        service_because(service, "a request asks for it");
    else
        snprintf(service->trouble, sizeof service->trouble, "%s", err.msg);
}

static service_state shown_state(const service *service, service_state state)
{
    if (state == SERVICE_LOADING && service->blocked && service->count == 0)
        return SERVICE_PLANNING;
    return state == SERVICE_LOADING && service->resuming ? SERVICE_RESUMING : state;
}

/* A line for the operator: what, and why, where that does not go without saying. */
static void log_change(const services *s, service *service)
{
    const char *why = service->reason[0] ? service->reason : service->state == SERVICE_DEGRADED ? service->message : "";
    services_tell(s, "service %s: %s%s%s", service->wish.name, service_state_name(service->state), *why ? ": " : "",
                  why);
    service->reason[0] = '\0';
}

/* The gateway tells it to those whose requests find no instance. */
static void tell(services *s, service *service, service_state state, uint64_t now)
{
    char text[SERVICE_MESSAGE_BYTES];
    bool changed = service->state != state;
    service->state = state;
    describe_message(s, service, now, text);
    memcpy(service->message, text, sizeof text);
    if (changed) {
        log_change(s, service);
        pthread_cond_broadcast(&s->changed);
    }
    if (!service->route || strcmp(service->told, text) == 0)
        return;
    memcpy(service->told, text, sizeof text);
    gateway_route_note(service->route, state == SERVICE_FAILED ? TN_E_DEVICE_LOST : TN_E_AGAIN, text);
}

/* True: the service is gone. */
static bool look_after(services *s, service *service)
{
    machine_instance seen[SERVICE_INSTANCES_MAX + 1];
    machine_view view;
    machine_answer answer = {.state = service->state};
    routes_open(s, service, clock_ms());
    for (int round = 0; round < ROUNDS_MAX; round++) {
        uint32_t wish = service->wish.generation;
        see(s, service, seen, &view);
        resume_if_asked(s, service);
        view.suspended = service->wish.suspended || s->ending;
        machine_step(&service->machine, &view, &answer);
        tell(s, service, shown_state(service, answer.state), view.now_ms); /* each state, however short */
        for (uint32_t i = 0; i < answer.count; i++)
            if (act(s, service, &answer.actions[i], view.now_ms))
                return true;
        drop_forgotten(service);
        routes_drop_retired(service);
        settle_update(s, service);
        if (answer.count == 0 && wish == service->wish.generation)
            break;
        pthread_cond_broadcast(&s->changed);
    }
    return false;
}

/* ---- the thread ---- */

static bool is_busy(const service *service)
{
    bool steady =
        service->state == SERVICE_READY || service->state == SERVICE_SUSPENDED || service->state == SERVICE_FAILED;
    for (uint32_t i = 0; steady && i < service->count; i++)
        steady = service->instances[i].phase == INSTANCE_READY;
    return !steady;
}

/* What to wait for, and how long. The caller holds the mutex. */
static int list_polled(const services *s, struct pollfd *polled, uint32_t *ret_count)
{
    uint32_t count = 0;
    bool busy = false;
    polled[count++] = (struct pollfd){s->event, POLLIN, 0};
    for (uint32_t i = 0; i < s->count; i++) {
        const service *service = s->all[i];
        busy = busy || is_busy(service);
        for (uint32_t j = 0; j < service->count && count < POLLED_MAX; j++)
            polled[count++] = (struct pollfd){service->instances[j].process.pidfd, POLLIN, 0};
    }
    *ret_count = count;
    return s->count == 0 ? -1 : busy ? BUSY_MS : CALM_MS;
}

static void *supervise(void *ctx)
{
    services *s = ctx;
    struct pollfd polled[POLLED_MAX];
    uint32_t count;
    eventfd_t ignored;

    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        routes_take_woken(s);
        for (uint32_t i = 0; i < s->count;)
            if (look_after(s, s->all[i]))
                pthread_cond_broadcast(&s->changed);
            else
                i++;
        errands_sweep(s);
        int timeout = list_polled(s, polled, &count);
        pthread_mutex_unlock(&s->mutex);
        poll(polled, count, timeout);
        eventfd_read(s->event, &ignored);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

tn_status supervisor_start(services *s, tn_error *err)
{
    int failed = pthread_create(&s->thread, NULL, supervise, s);
    if (failed)
        return tn_fail(err, TN_E_MEMORY, "the supervisor's thread: %s", strerror(failed));
    s->running = true;
    return TN_OK;
}

void supervisor_stop(services *s)
{
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    services_signal(s);
    if (s->running)
        pthread_join(s->thread, NULL);
    s->running = false;
}
