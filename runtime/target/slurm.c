/* slurm.c: see slurm.h: what is done to services, by sbatch and scancel.
 *
 * A job for each instance, all of one script. Slurm is asked for what runs each time; what was wished for is in the
 * service's folder (slurm_place.h), and is written before a job is started or after it was told to end.
 */
#include "target/slurm.h"

#include "file/directory.h"
#include "target/slurm_jobs.h"
#include "target/slurm_logs.h"
#include "target/slurm_place.h"
#include "target/slurm_script.h"
#include "target/slurm_show.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char package[] = "Debian's slurm-client";

/* A service and its jobs, as they are now. */
typedef struct deployed {
    char folder[PATH_MAX];
    json_t *record;
    slurm_jobs jobs;
} deployed;

static void deployed_finish(deployed *d)
{
    json_decref(d->record);
    slurm_jobs_finish(&d->jobs);
}

static tn_status deployed_open(const settings *settings, const char *name, deployed *d, tn_error *err)
{
    char job_name[SERVICE_NAME_BYTES_MAX + 16];

    *d = (deployed){.record = NULL};
    tn_status status = slurm_place(settings, name, d->folder, err);
    if (status == TN_OK)
        status = slurm_place_check(d->folder, err);
    if (status == TN_OK)
        status = slurm_record_read(d->folder, name, &d->record, err);
    snprintf(job_name, sizeof job_name, "tenon-%.*s", SERVICE_NAME_BYTES_MAX, name);
    if (status == TN_OK)
        status = slurm_jobs_ask(job_name, &d->jobs, err);
    return status;
}

static bool is_mine(const deployed *d, const slurm_job *job)
{
    return slurm_job_is_live(job) && strcmp(job->folder, d->folder) == 0;
}

/* ---- jobs ---- */

static tn_status submit_one(const char *folder, tn_error *err)
{
    char chdir[PATH_MAX + 16], script[PATH_MAX + 16];
    const char *const words[] = {"sbatch", "--parsable", "--export=NONE", chdir, script, NULL};

    snprintf(chdir, sizeof chdir, "--chdir=%s", folder);
    snprintf(script, sizeof script, "%s/" SLURM_SCRIPT, folder);
    return target_run(words, package, NULL, err);
}

static tn_status submit_many(const char *folder, uint32_t count, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; status == TN_OK && i < count; i++)
        status = submit_one(folder, err);
    return status;
}

/* Those that wait are cancelled; those that run, if only since a moment ago, are told to drain. A job that is about to
 * start finds its mark. */
static tn_status stop_one(const deployed *d, const slurm_job *job, tn_error *err)
{
    const char *const cancel[] = {"scancel", "--quiet", "--state=PENDING", job->id, NULL};
    const char *const tell[] = {"scancel", "--quiet", "--batch", "--signal=USR2", "--state=RUNNING", job->id, NULL};

    tn_status status = slurm_file_touch(d->folder, job->id, "stop", err);
    if (status == TN_OK)
        status = target_run(cancel, package, NULL, err);
    if (status == TN_OK)
        status = target_run(tell, package, NULL, err);
    return status;
}

/* Ends the newest until `left` are to go on. Those that have their mark are told again: Slurm may not have listened. */
static tn_status stop_many(const deployed *d, uint32_t left, tn_error *err)
{
    uint32_t wanted = slurm_show_count(&d->jobs, d->folder, true);
    tn_status status = TN_OK;

    for (uint32_t i = d->jobs.count; i-- > 0 && status == TN_OK;) {
        const slurm_job *job = &d->jobs.at[i];
        const bool marked = slurm_file_exists(d->folder, job->id, "stop");
        if (!is_mine(d, job) || (!marked && wanted <= left))
            continue;
        status = stop_one(d, job, err);
        wanted -= !marked;
    }
    return status;
}

/* As many as are wished for: more are submitted, or the newest ended. */
static tn_status bring_about(const deployed *d, tn_error *err)
{
    uint32_t wanted = (uint32_t)json_integer_value(json_object_get(d->record, "min"));
    uint32_t there = slurm_show_count(&d->jobs, d->folder, true);

    return there < wanted ? submit_many(d->folder, wanted - there, err) : stop_many(d, wanted, err);
}

/* ---- show ---- */

/* Of what is to be deleted and has ended nothing stays. */
static bool forget(const settings *settings, const char *name, const deployed *d)
{
    if (!json_is_true(json_object_get(d->record, "deleting")) || slurm_show_count(&d->jobs, d->folder, false) > 0 ||
        directory_remove(d->folder, NULL) != TN_OK)
        return false;
    target_keep_model(settings, &target_slurm, name, json_string_value(json_object_get(d->record, "digest")), false,
                      NULL);
    return true;
}

static tn_status show(const settings *settings, const char *name, json_t **ret_service, tn_error *err)
{
    deployed d;
    tn_status status = deployed_open(settings, name, &d, err);

    if (status == TN_OK && forget(settings, name, &d))
        status = tn_fail(err, TN_E_NOT_FOUND, "there is no service \"%.80s\" on slurm any more", name);
    if (status == TN_OK)
        *ret_service = slurm_show_service(d.record, d.folder, &d.jobs);
    deployed_finish(&d);
    return status;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strlen(entry->d_name) <= SERVICE_NAME_BYTES_MAX;
}

/* A folder that is no service's is passed over; one that is damaged is told. */
static tn_status list_one(const settings *settings, const char *name, json_t *services, tn_error *err)
{
    json_t *service = NULL;
    tn_status status = show(settings, name, &service, err);

    if (status == TN_OK)
        json_array_append_new(services, service);
    return status == TN_E_NOT_FOUND ? TN_OK : status;
}

static tn_status list(const settings *settings, json_t **ret_services, tn_error *err)
{
    char folder[PATH_MAX];
    struct dirent **entries = NULL;
    json_t *services = json_array();
    tn_status status = slurm_place(settings, NULL, folder, err);
    int count = status == TN_OK ? scandir(folder, &entries, is_visible, alphasort) : 0;

    if (count < 0 && errno != ENOENT)
        status = tn_fail(err, TN_E_IO, "%.400s: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        if (status == TN_OK)
            status = list_one(settings, entries[i]->d_name, services, err);
        free(entries[i]);
    }
    free(entries);
    if (status != TN_OK) {
        json_decref(services);
        return status;
    }
    *ret_services = services;
    return TN_OK;
}

static tn_status logs(const settings *settings, const char *name, const char *instance, uint64_t since_ms, bool follow,
                      const log_sink *sink, tn_error *err)
{
    char folder[PATH_MAX];
    json_t *record = NULL;
    tn_status status = slurm_place(settings, name, folder, err);

    if (status == TN_OK)
        status = slurm_record_read(folder, name, &record, err);
    json_decref(record);
    return status == TN_OK ? slurm_logs_read(folder, name, instance, since_ms, follow, sink, err) : status;
}

/* ---- changes ---- */

static tn_status check_not_deleting(const deployed *d, const char *name, tn_error *err)
{
    return json_is_true(json_object_get(d->record, "deleting"))
               ? tn_fail(err, TN_E_ARGUMENT, "service %s is being deleted", name)
               : TN_OK;
}

static tn_status scale(const settings *settings, const char *name, uint32_t min, uint32_t max, tn_error *err)
{
    deployed d;
    tn_status status = deployed_open(settings, name, &d, err);

    if (status == TN_OK)
        status = check_not_deleting(&d, name, err);
    if (status == TN_OK && min == SERVICE_UNCHANGED)
        min = (uint32_t)json_integer_value(json_object_get(d.record, "min"));
    if (status == TN_OK && max == SERVICE_UNCHANGED)
        max = (uint32_t)json_integer_value(json_object_get(d.record, "max"));
    if (status == TN_OK && (min < 1 || min > max || max > SERVICE_INSTANCES_MAX))
        status = tn_fail(err, TN_E_ARGUMENT, "min %u and max %u: it is 1 <= min <= max <= %d, and min of them run", min,
                         max, SERVICE_INSTANCES_MAX);
    if (status == TN_OK) {
        json_object_set_new(d.record, "min", json_integer(min));
        json_object_set_new(d.record, "max", json_integer(max));
        status = slurm_record_write(d.folder, d.record, err);
    }
    if (status == TN_OK && !json_is_true(json_object_get(d.record, "suspended")))
        status = bring_about(&d, err);
    deployed_finish(&d);
    return status;
}

static tn_status suspend(const settings *settings, const char *name, tn_error *err)
{
    deployed d;
    tn_status status = deployed_open(settings, name, &d, err);

    if (status == TN_OK)
        status = check_not_deleting(&d, name, err);
    if (status == TN_OK) {
        json_object_set_new(d.record, "suspended", json_true());
        status = slurm_record_write(d.folder, d.record, err);
    }
    if (status == TN_OK)
        status = stop_many(&d, 0, err);
    deployed_finish(&d);
    return status;
}

static tn_status resume(const settings *settings, const char *name, tn_error *err)
{
    deployed d;
    tn_status status = deployed_open(settings, name, &d, err);

    if (status == TN_OK)
        status = check_not_deleting(&d, name, err);
    if (status == TN_OK) {
        json_object_del(d.record, "suspended");
        slurm_files_remove(d.folder, "failed");
        status = slurm_record_write(d.folder, d.record, err);
    }
    if (status == TN_OK)
        status = bring_about(&d, err);
    deployed_finish(&d);
    return status;
}

static tn_status remove_service(const settings *settings, const char *name, tn_error *err)
{
    deployed d;
    tn_status status = deployed_open(settings, name, &d, err);

    if (status == TN_OK) {
        json_object_set_new(d.record, "deleting", json_true());
        status = slurm_record_write(d.folder, d.record, err);
    }
    if (status == TN_OK)
        status = stop_many(&d, 0, err);
    if (status == TN_OK)
        forget(settings, name, &d);
    deployed_finish(&d);
    return status;
}

/* ---- create ---- */

static tn_status check_free(const char *folder, const char *name, bool replace, bool *ret_there, tn_error *err)
{
    json_t *record = NULL;
    tn_error none = TN_ERROR_INIT;
    tn_status status = slurm_record_read(folder, name, &record, &none);
    bool deleting = json_is_true(json_object_get(record, "deleting"));

    json_decref(record);
    *ret_there = status == TN_OK;
    if (status == TN_E_NOT_FOUND)
        return TN_OK;
    if (status != TN_OK)
        return tn_fail(err, status, "%s", none.msg);
    if (replace && !deleting)
        return TN_OK;
    if (err)
        err->native_code = EEXIST;
    return tn_fail(err, TN_E_ARGUMENT, "name: there is a service %s on slurm already%s", name,
                   deleting ? ", which is being deleted" : "; delete it, or give --replace");
}

static tn_status write_record(const target_service *service, const char *folder, tn_error *err)
{
    json_t *record = target_service_json(&target_slurm, service);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    json_object_set_new(record, "created", json_integer((json_int_t)now.tv_sec * 1000));
    tn_status status = slurm_record_write(folder, record, err);
    json_decref(record);
    return status;
}

/* What the service ran before is the registry's to remove, unless it is the same. */
static void release_old(const settings *settings, const deployed *old, const target_service *service)
{
    const char *digest = json_string_value(json_object_get(old->record, "digest"));

    if (digest && (!service->digest || strcmp(digest, service->digest) != 0))
        target_keep_model(settings, &target_slurm, service->name, digest, false, NULL);
}

/* Of what could not be submitted nothing is to stay; of what was to be replaced, the wish that its jobs run by. */
static void take_back(const settings *settings, const char *name, const deployed *old)
{
    tn_error none = TN_ERROR_INIT;

    if (old->record)
        slurm_record_write(old->folder, old->record, &none);
    else
        remove_service(settings, name, &none);
}

/* New jobs first: if Slurm refuses them, those that run go on. */
static tn_status submit(const settings *settings, const target_service *service, const target_files *files,
                        bool replace, tn_error *err)
{
    char folder[PATH_MAX];
    bool there = false;
    deployed old = {.record = NULL};

    tn_status status = slurm_place(settings, service->name, folder, err);
    if (status == TN_OK)
        status = directory_make(folder, err);
    if (status == TN_OK)
        status = slurm_place_check(folder, err);
    if (status == TN_OK)
        status = check_free(folder, service->name, replace, &there, err);
    if (status == TN_OK && there)
        status = deployed_open(settings, service->name, &old, err);
    if (status == TN_OK)
        status = target_files_write(files, folder, err);
    if (status == TN_OK)
        status = write_record(service, folder, err);
    if (status == TN_OK) {
        slurm_files_remove(folder, "failed");
        status = submit_many(folder, service->min, err);
        if (status != TN_OK)
            take_back(settings, service->name, &old);
    }
    if (status == TN_OK && there)
        status = stop_many(&old, 0, err);
    if (status == TN_OK && there)
        release_old(settings, &old, service);
    deployed_finish(&old);
    return status;
}

const target target_slurm = {
    .name = "slurm",
    .summary = "jobs of a Slurm cluster",
    .render = slurm_script_render,
    .submit = submit,
    .list = list,
    .show = show,
    .logs = logs,
    .scale = scale,
    .suspend = suspend,
    .resume = resume,
    .remove = remove_service,
};
