/* services.c: wishes taken: checked, planned, reserved, written down. The supervisor brings them about. */
#include "service/services.h"

#include "base/clock.h"
#include "service/planner.h"
#include "service/state.h"
#include "service/wish_model.h"
#include "settings/section.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUTE_WAIT_MS = 10 * 1000 };

/* ---- names of states ---- */

static const char *const state_names[] = {
#define SERVICE_STATE_TEXT(name) #name,
    SERVICE_STATES(SERVICE_STATE_TEXT)
#undef SERVICE_STATE_TEXT
};
enum { STATES = sizeof state_names / sizeof *state_names };

const char *service_state_name(service_state state)
{
    TN_ASSERT((unsigned)state < STATES);
    return state_names[state];
}

bool service_state_parse(const char *text, service_state *ret_state)
{
    for (unsigned i = 0; i < STATES; i++)
        if (strcmp(state_names[i], text) == 0) {
            *ret_state = (service_state)i;
            return true;
        }
    return false;
}

/* ---- finding ---- */

static service *find(services *s, const char *name)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->all[i]->wish.name, name) == 0)
            return s->all[i];
    return NULL;
}

service *services_find(services *s, const char *name, tn_error *err)
{
    char list[300] = "";
    service *found = find(s, name);
    if (found)
        return found;
    for (uint32_t i = 0; i < s->count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", s->all[i]->wish.name);
    }
    tn_fail(err, TN_E_NOT_FOUND, "there is no service \"%.80s\"; there %s %s", name, s->count == 1 ? "is" : "are",
            s->count ? list : "none");
    return NULL;
}

void services_tell(const services *s, const char *format, ...)
{
    char sentence[1024];
    va_list args;
    if (!s->tell)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    s->tell(sentence);
}

void service_because(service *service, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(service->reason, sizeof service->reason, format, args);
    va_end(args);
}

tn_status services_write(services *s, const service *service, tn_error *err)
{
    return wish_write(&service->wish, s->services_folder, err);
}

void services_insert(services *s, service *service)
{
    uint32_t at = s->count++;
    TN_ASSERT(at < SERVICES_MAX);
    for (; at > 0 && strcmp(s->all[at - 1]->wish.name, service->wish.name) > 0; at--)
        s->all[at] = s->all[at - 1];
    s->all[at] = service;
}

/* ---- whether it fits ---- */

/* Who may ask for services does not choose what code runs: not by uploading it either. */
static tn_status check_files(const wish *wish, tn_error *err)
{
    for (char **set = wish->sets; *set; set++) {
        char section[64];
        const char *value = strchr(*set, '=') + 1;
        snprintf(section, sizeof section, "%.*s", (int)strcspn(*set, "."), *set);
        bool loads = !section_is_core(section) || strncmp(*set, "quant.plugins=", 14) == 0 ||
                     strncmp(*set, "tokenizer.plugins=", 18) == 0;
        if (loads && strchr(value, '/'))
            return tn_fail(
                err, TN_E_ARGUMENT,
                "settings: %.*s names a file; plugins and what they load are the daemon's own settings to name",
                (int)(value - 1 - *set), *set);
    }
    return TN_OK;
}

/* Every setting is one, and has a value that it can have. */
static tn_status check_settings(const services *s, const wish *wish, const pool *pool, tn_error *err)
{
    engine_settings list = {0};
    settings *checked = NULL;
    tn_error reason = TN_ERROR_INIT;
    tn_status status = check_files(wish, err);
    if (status == TN_OK)
        status = engine_settings_make(s->settings, wish, pool, ENGINE_ROUTE, NULL, &list, err);
    if (status != TN_OK)
        return status;
    status = settings_read(NULL, (const char *const *)list.at, &checked, &reason);
    settings_destroy(checked);
    engine_settings_finish(&list);
    const char *text = strncmp(reason.msg, "--set: ", 7) == 0 ? reason.msg + 7 : reason.msg;
    return status == TN_OK ? TN_OK : tn_fail(err, status, "settings: %.480s", text);
}

/* Model, settings and plan of a wish, which may take seconds; no lock is held. */
static tn_status prepare(const services *s, wish *wish, bool find_model, json_t **ret_plan, tn_error *err)
{
    uint32_t ordinals[PLANNER_DEVICES_MAX], count;
    pool pool;
    tn_status status = planner_pool(s->settings, wish->pool, &pool, ordinals, &count, err);
    if (status == TN_OK && pool.nodes > 1)
        status = tn_fail(err, TN_E_UNSUPPORTED, "pool: %s has %u nodes; a service of a daemon runs on one", wish->pool,
                         pool.nodes);
    wish->plan = (engine_plan){
        .world = 1, .max_model_len = 1, .max_num_seqs = 1, .max_num_batched_tokens = 1, .kv_bytes = 1 << 20};
    if (status == TN_OK && find_model)
        status = wish_find_model(s->settings, wish, err);
    if (status == TN_OK)
        status = check_settings(s, wish, &pool, err);
    if (status != TN_OK)
        return status;
    status = planner_ask(s->settings, s->program, s->plans_folder, wish, &wish->plan, ret_plan, err);
    if (status == TN_E_MEMORY && *ret_plan) {
        json_object_set(*ret_plan, "needed_bytes", json_object_get(*ret_plan, "needed"));
        json_object_set(*ret_plan, "had_bytes", json_object_get(*ret_plan, "budget"));
    }
    return status;
}

/* ---- create ---- */

service *service_create(const wish *wish)
{
    service *service = calloc(1, sizeof *service);
    if (!service)
        return NULL;
    service->wish = *wish;
    service->state = SERVICE_PENDING;
    service->machine.random = (uint32_t)(calendar_ms() ^ (uintptr_t)service) | 1;
    return service;
}

void service_finish(services *s, service *service)
{
    uint32_t at = 0;
    while (s->all[at] != service)
        at++;
    s->count--;
    memmove(&s->all[at], &s->all[at + 1], (s->count - at) * sizeof *s->all);
    ledger_release(&s->ledger, service->wish.name, NULL);
    engine_settings_finish(&service->route_made);
    wish_finish(&service->wish);
    free(service);
}

/* Reserved, written down, leased; or nothing of it. The caller holds the mutex. *wish is moved on success. */
static tn_status admit(services *s, wish *wish, bool dry_run, json_t *plan, tn_error *err)
{
    const ledger_claim *claim;
    uint64_t had;
    tn_status status = admission_count(s, wish, err);
    if (status == TN_OK)
        status = admission_reserve(s, wish, "", &claim, &had, plan, err);
    if (status != TN_OK || dry_run) {
        ledger_release(&s->ledger, status == TN_OK ? wish->name : "", "");
        return status;
    }
    service *service = service_create(wish);
    status = service ? services_write(s, service, err) : tn_fail(err, TN_E_MEMORY, "a service");
    if (status == TN_OK)
        status = admission_lease(s, wish, err);
    if (status != TN_OK) {
        wish_remove(wish, s->services_folder, NULL);
        ledger_release(&s->ledger, wish->name, "");
        free(service);
        return status;
    }
    *wish = (struct wish){0};
    service_because(service, "it was created");
    services_insert(s, service);
    services_signal(s);
    pthread_cond_broadcast(&s->changed);
    return TN_OK;
}

static tn_status name_taken(const service *taken, tn_error *err)
{
    tn_fail(err, TN_E_ARGUMENT, "name: there is a service %s already%s", taken->wish.name,
            taken->wish.deleting ? ", which is being deleted" : "; update it, or ask for it to be replaced");
    if (err)
        err->native_code = EEXIST;
    return TN_E_ARGUMENT;
}

/* Whether there is one already; replace: then it is to be updated. */
static tn_status check_free(services *s, const char *name, bool replace, bool *ret_there, tn_error *err)
{
    pthread_mutex_lock(&s->mutex);
    const service *taken = find(s, name);
    bool updates = taken && replace && !taken->wish.deleting;
    tn_status status = taken && !updates ? name_taken(taken, err) : TN_OK;
    pthread_mutex_unlock(&s->mutex);
    *ret_there = updates;
    return status;
}

static void give_plan(json_t *plan, json_t **ret_plan)
{
    if (ret_plan)
        *ret_plan = plan;
    else
        json_decref(plan);
}

static tn_status update(services *s, const char *name, const service_spec *changes, bool dry_run, json_t **ret_plan,
                        tn_error *err);

tn_status services_create(services *s, const service_spec *spec, bool replace, bool dry_run, json_t **ret_plan,
                          tn_error *err)
{
    wish wish = {0};
    json_t *plan = NULL;
    bool there = false;

    if (ret_plan)
        *ret_plan = NULL;
    tn_status status = wish_take(&wish, spec, err);
    if (status == TN_OK)
        status = check_free(s, wish.name, replace, &there, err);
    if (status == TN_OK && there) {
        wish_finish(&wish);
        return update(s, spec->name, spec, dry_run, ret_plan, err);
    }
    wish.generation = wish.generation_last = 1;
    wish.created_ms = calendar_ms();
    if (status == TN_OK)
        status = prepare(s, &wish, true, &plan, err);
    if (status == TN_OK) {
        pthread_mutex_lock(&s->mutex);
        const service *taken = find(s, wish.name);
        status = taken ? name_taken(taken, err) : admit(s, &wish, dry_run, plan, err);
        pthread_mutex_unlock(&s->mutex);
    }
    wish_finish(&wish);
    give_plan(plan, ret_plan);
    return status;
}

/* ---- update ---- */

static bool same_sets(char **a, char **b)
{
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return !*a && !*b;
}

static bool same_engine(const wish *a, const wish *b)
{
    return strcmp(a->path, b->path) == 0 && strcmp(a->pool, b->pool) == 0 && a->gpus == b->gpus &&
           same_sets(a->sets, b->sets);
}

/* Whether every setting of a that instances speak of is one of b's. How long a context may be, the plan says. */
static bool tells_no_more(char **a, char **b)
{
    static const char length[] = "model.max_model_len=";
    for (; *a; a++) {
        char **at = b;
        if (!routes_concern(*a) || strncmp(*a, length, sizeof length - 1) == 0)
            continue;
        while (*at && strcmp(*a, *at) != 0)
            at++;
        if (!*at)
            return false;
    }
    return true;
}

static bool says_the_same(const wish *a, const wish *b)
{
    return strcmp(a->path, b->path) == 0 && tells_no_more(a->sets, b->sets) && tells_no_more(b->sets, a->sets);
}

static tn_status is_going(const service *service, tn_error *err)
{
    if (!service->wish.deleting)
        return TN_OK;
    return tn_fail(err, TN_E_AGAIN, "service %s is being deleted; wait until it is gone", service->wish.name);
}

/* The place of the new generation's first instance. A service that rests takes it when it is resumed. */
static tn_status reserve_beside(services *s, const service *service, const wish *wish, bool dry_run, json_t *plan,
                                tn_error *err)
{
    const ledger_claim *claim;
    uint64_t had;
    const ledger_claim *kept = ledger_find(&s->ledger, wish->name, "");
    ledger_claim before = kept ? *kept : (ledger_claim){.device_count = 0};

    ledger_release(&s->ledger, wish->name, "");
    if (service->wish.suspended)
        return TN_OK;
    tn_status status = admission_reserve(s, wish, "", &claim, &had, plan, err);
    if (status == TN_OK && !dry_run)
        return TN_OK;
    ledger_release(&s->ledger, wish->name, "");
    tn_status restored = kept ? ledger_restore(&s->ledger, &before, err) : TN_OK;
    return status == TN_OK ? restored : status;
}

/* Puts the wish in place of the service's, on the disk first. *fresh is moved on success. The caller holds the mutex.
 */
static tn_status put_wish(services *s, service *service, wish *fresh, tn_error *err)
{
    wish old = service->wish;
    service->wish = *fresh;
    tn_status status = services_write(s, service, err);
    if (status != TN_OK) {
        service->wish = old;
        return status;
    }
    wish_finish(&old);
    *fresh = (wish){0};
    service->machine.failures = 0;
    service->machine.retry_ms = 0;
    services_signal(s);
    pthread_cond_broadcast(&s->changed);
    return TN_OK;
}

/* What came up last, not an update that has not; nothing for a service without instances that has none of these. */
static tn_status keep_before(const service *service, wish *fresh, tn_error *err)
{
    const wish *serves = service->wish.before ? service->wish.before : &service->wish;
    if (service->count == 0 && !service->wish.before)
        return TN_OK;
    fresh->before = calloc(1, sizeof *fresh);
    return fresh->before ? wish_copy(serves, fresh->before, err) : tn_fail(err, TN_E_MEMORY, "a service");
}

/* What the service runs, or ran before an update that is under way. */
static bool runs_model(const service *service, const digest *digest)
{
    const wish *before = service->wish.before;
    return digest_equal(digest, &service->wish.digest) || (before && digest_equal(digest, &before->digest));
}

/* Of a generation that is not to be: its place and its lease. before: the place that was kept; no devices: none was. */
static void give_back(services *s, const service *service, const wish *fresh, const ledger_claim *before)
{
    ledger_release(&s->ledger, fresh->name, "");
    if (before->device_count)
        ledger_restore(&s->ledger, before, NULL);
    if (!runs_model(service, &fresh->digest))
        admission_release(s, fresh);
}

static tn_status put_generation(services *s, service *service, wish *fresh, bool dry_run, json_t *plan, tn_error *err)
{
    const ledger_claim *kept = ledger_find(&s->ledger, fresh->name, "");
    const ledger_claim before = kept ? *kept : (ledger_claim){.device_count = 0};
    tn_status status = strcmp(fresh->pool, service->wish.pool) ? admission_count(s, fresh, err) : TN_OK;
    if (status == TN_OK)
        status = reserve_beside(s, service, fresh, dry_run, plan, err);
    if (status != TN_OK || dry_run)
        return status;
    fresh->generation = fresh->generation_last = service->wish.generation_last + 1;
    fresh->suspended = service->wish.suspended;
    fresh->failure = (wish_failure){.failed = false};
    if (!says_the_same(fresh, &service->wish)) {
        free(fresh->told);
        fresh->told = NULL;
    }
    status = admission_lease(s, fresh, err);
    if (status == TN_OK)
        status = keep_before(service, fresh, err);
    wish between = {.digest = service->wish.digest};
    memcpy(between.name, fresh->name, sizeof between.name);
    if (status == TN_OK)
        status = put_wish(s, service, fresh, err);
    if (status != TN_OK) {
        give_back(s, service, fresh, &before);
        return status;
    }
    services_tell(s, "service %s: updated, to generation %u", service->wish.name, service->wish.generation);
    if (!runs_model(service, &between.digest))
        admission_release(s, &between);
    return TN_OK;
}

static void copy_counts(wish *to, const wish *from)
{
    to->min = from->min;
    to->max = from->max;
    to->autosuspend_s = from->autosuspend_s;
}

/* Numbers alone: an update that runs goes on, and they stand even if it is taken back. */
static tn_status put_counts(services *s, service *service, wish *fresh, tn_error *err)
{
    struct wish *before = service->wish.before;
    const struct wish was = before ? *before : (struct wish){.min = 0};
    free(fresh->told); /* since it was copied instances may have come */
    fresh->told = service->wish.told ? strdup(service->wish.told) : NULL;
    if (before)
        copy_counts(before, fresh);
    fresh->before = before;
    service->wish.before = NULL;
    tn_status status = put_wish(s, service, fresh, err);
    if (status != TN_OK) {
        service->wish.before = before;
        fresh->before = NULL;
        if (before)
            copy_counts(before, &was);
    }
    return status;
}

/* Whether nobody has asked for anything else since. */
static bool is_still(const wish *wish, const struct wish *old)
{
    return wish->created_ms == old->created_ms && wish->generation == old->generation && wish->min == old->min &&
           wish->max == old->max && wish->autosuspend_s == old->autosuspend_s;
}

/* fresh: what is wished for from now on, made from `old`. */
static tn_status apply(services *s, wish *fresh, const wish *old, bool dry_run, json_t *plan, tn_error *err)
{
    service *service = services_find(s, fresh->name, err);
    tn_status status = service ? is_going(service, err) : TN_E_NOT_FOUND;
    if (status != TN_OK)
        return status;
    if (!is_still(&service->wish, old))
        return tn_fail(err, TN_E_AGAIN, "service %s was updated by somebody else meanwhile; look at it, and try again",
                       fresh->name);
    if (!same_engine(fresh, &service->wish) || service->wish.failure.failed)
        return put_generation(s, service, fresh, dry_run, plan, err);
    fresh->suspended = service->wish.suspended;
    fresh->failure = (wish_failure){.failed = false};
    return dry_run ? TN_OK : put_counts(s, service, fresh, err);
}

/* Who asks for a service without instances after its update waits for one of the new generation, so its door is to be
 * the new one's by then; for a while. The caller holds the mutex. */
static void await_route(services *s, const char *name)
{
    struct timespec deadline = clock_after_ms(ROUTE_WAIT_MS);
    const service *service;
    while ((service = find(s, name)) && !s->closing && routes_is_old(service))
        if (pthread_cond_clockwait(&s->changed, &s->mutex, CLOCK_MONOTONIC, &deadline) == ETIMEDOUT)
            return;
}

static tn_status update(services *s, const char *name, const service_spec *changes, bool dry_run, json_t **ret_plan,
                        tn_error *err)
{
    wish old = {0}, fresh = {0};
    json_t *plan = NULL;

    pthread_mutex_lock(&s->mutex);
    service *service = services_find(s, name, err);
    tn_status status = service ? is_going(service, err) : TN_E_NOT_FOUND;
    if (status == TN_OK)
        status = wish_copy(&service->wish, &fresh, err);
    if (status == TN_OK)
        status = wish_copy(&service->wish, &old, err);
    pthread_mutex_unlock(&s->mutex);
    if (status == TN_OK)
        status = wish_take(&fresh, changes, err);
    /* A name of the registry may mean another version by now: that is asked anew only if it was given anew. */
    if (status == TN_OK && changes->model)
        status = wish_find_model(s->settings, &fresh, err);
    if (status == TN_OK && (dry_run || !same_engine(&fresh, &old) || old.failure.failed))
        status = prepare(s, &fresh, false, &plan, err);
    if (status == TN_OK) {
        pthread_mutex_lock(&s->mutex);
        status = apply(s, &fresh, &old, dry_run, plan, err);
        if (status == TN_OK && !dry_run)
            await_route(s, name);
        pthread_mutex_unlock(&s->mutex);
    }
    wish_finish(&fresh);
    wish_finish(&old);
    give_plan(plan, ret_plan);
    return status;
}

tn_status services_update(services *s, const char *name, const service_spec *changes, json_t **ret_plan, tn_error *err)
{
    if (ret_plan)
        *ret_plan = NULL;
    return update(s, name, changes, false, ret_plan, err);
}

tn_status services_scale(services *s, const char *name, uint32_t min, uint32_t max, tn_error *err)
{
    const service_spec changes = {
        .gpus = SERVICE_UNCHANGED, .min_instances = min, .max_instances = max, .autosuspend_s = SERVICE_UNCHANGED};
    wish fresh = {0};
    pthread_mutex_lock(&s->mutex);
    service *service = services_find(s, name, err);
    tn_status status = service ? is_going(service, err) : TN_E_NOT_FOUND;
    if (status == TN_OK)
        status = wish_copy(&service->wish, &fresh, err);
    if (status == TN_OK)
        status = wish_take(&fresh, &changes, err);
    if (status == TN_OK)
        status = put_counts(s, service, &fresh, err);
    if (status == TN_OK)
        services_tell(s, "service %s: scaled, to %u at least and %u at most", name, service->wish.min,
                      service->wish.max);
    pthread_mutex_unlock(&s->mutex);
    wish_finish(&fresh);
    return status;
}

/* ---- suspend, resume, delete ---- */

tn_status services_resume(services *s, service *service, tn_error *err)
{
    wish *wish = &service->wish;
    const ledger_claim *claim;
    uint64_t had = 0;
    bool reserved = service->count > 0 || ledger_find(&s->ledger, wish->name, "");

    if (!wish->suspended && !wish->failure.failed && !wish->failure.update_failed)
        return TN_OK;
    tn_status status = reserved ? TN_OK : admission_reserve(s, wish, "", &claim, &had, NULL, err);
    service->blocked = status == TN_E_MEMORY;
    service->needed_bytes = wish->plan.device_bytes;
    service->had_bytes = had;
    if (status != TN_OK)
        return status;
    wish_failure failure = wish->failure;
    bool suspended = wish->suspended;
    wish->suspended = false;
    wish->failure = (wish_failure){.failed = false};
    status = services_write(s, service, err);
    if (status != TN_OK) {
        wish->suspended = suspended;
        wish->failure = failure;
        if (!reserved)
            ledger_release(&s->ledger, wish->name, "");
        return status;
    }
    service->resuming = true;
    service_because(service, "it was asked to");
    service->machine.failures = 0;
    service->machine.retry_ms = 0;
    return TN_OK;
}

static tn_status send_away(services *s, service *service, bool deletes, uint32_t drain_s, tn_error *err)
{
    wish *wish = &service->wish;
    bool *flag = deletes ? &wish->deleting : &wish->suspended, before = *flag;
    uint32_t drain_before = wish->drain_s;
    if (before)
        return TN_OK;
    *flag = true;
    wish->drain_s = drain_s;
    tn_status status = services_write(s, service, err);
    if (status != TN_OK) {
        *flag = before;
        wish->drain_s = drain_before;
        return status;
    }
    service_because(service, "it was asked to");
    ledger_release(&s->ledger, wish->name, "");
    return TN_OK;
}

tn_status services_do(services *s, const char *name, service_verb verb, uint32_t drain_s, tn_error *err)
{
    pthread_mutex_lock(&s->mutex);
    service *service = services_find(s, name, err);
    tn_status status = service ? TN_OK : TN_E_NOT_FOUND;
    if (status == TN_OK && verb != SERVICE_DELETE)
        status = is_going(service, err);
    if (status == TN_OK)
        status = verb == SERVICE_RESUME ? services_resume(s, service, err)
                                        : send_away(s, service, verb == SERVICE_DELETE, drain_s, err);
    services_signal(s);
    pthread_mutex_unlock(&s->mutex);
    return status;
}

/* ---- looking ---- */

/* As many as are wanted, and all of what was wished for last: the state is that of the supervisor's last look. */
static bool is_whole(const service *service)
{
    uint32_t ready = 0;
    for (uint32_t i = 0; i < service->count; i++) {
        if (!instance_is_fresh(service, &service->instances[i]))
            return false;
        ready += service->instances[i].phase == INSTANCE_READY;
    }
    return ready > 0 && ready >= service->wish.min;
}

/* Whether a state that is waited for is there, or will not come. READY means an update too. */
static bool has_come(const service *service, service_state state)
{
    if (service->wish.failure.update_failed || (service->state == SERVICE_FAILED && service->wish.failure.failed))
        return true;
    return service->state == state && (state != SERVICE_READY || is_whole(service));
}

tn_status services_wait(services *s, const char *name, service_state state, uint32_t timeout_ms, json_t **ret_service,
                        tn_error *err)
{
    struct timespec deadline = clock_after_ms(timeout_ms);
    json_t *json = NULL;
    pthread_mutex_lock(&s->mutex);
    const service *service = services_find(s, name, err);
    tn_status status = service || state == SERVICE_DELETING ? TN_OK : TN_E_NOT_FOUND;
    bool late = false;
    while (service && !late && !s->closing && (state == SERVICE_DELETING || !has_come(service, state))) {
        late = pthread_cond_clockwait(&s->changed, &s->mutex, CLOCK_MONOTONIC, &deadline) == ETIMEDOUT;
        service = find(s, name);
    }
    if (service)
        json = describe_service(s, service);
    if (service && (state == SERVICE_DELETING || !has_come(service, state)))
        status = tn_fail(err, TN_E_AGAIN, "service %s is %s: %.300s", name, service_state_name(service->state),
                         service->message);
    else if (!service && status == TN_OK && state != SERVICE_DELETING)
        status = tn_fail(err, TN_E_NOT_FOUND, "service %s was deleted meanwhile", name);
    pthread_mutex_unlock(&s->mutex);
    if (ret_service)
        *ret_service = json;
    else
        json_decref(json);
    return status;
}

tn_status services_show(services *s, const char *name, json_t **ret_service, tn_error *err)
{
    pthread_mutex_lock(&s->mutex);
    const service *service = services_find(s, name, err);
    if (service)
        *ret_service = describe_service(s, service);
    pthread_mutex_unlock(&s->mutex);
    return service ? TN_OK : TN_E_NOT_FOUND;
}

json_t *services_list(services *s)
{
    json_t *array = json_array();
    pthread_mutex_lock(&s->mutex);
    for (uint32_t i = 0; i < s->count; i++)
        json_array_append_new(array, describe_service(s, s->all[i]));
    pthread_mutex_unlock(&s->mutex);
    return array;
}
