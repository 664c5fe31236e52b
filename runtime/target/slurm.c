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
#include "target/slurm_program.h"
#include "target/slurm_script.h"
#include "target/slurm_show.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

static tn_status ask_jobs(const char *name, slurm_jobs *ret_jobs, tn_error *err)
{
    char job_name[SERVICE_NAME_BYTES_MAX + 16];

    snprintf(job_name, sizeof job_name, "tenon-%.*s", SERVICE_NAME_BYTES_MAX, name);
    return slurm_jobs_ask(job_name, ret_jobs, err);
}

static tn_status deployed_open(const settings *settings, const char *name, deployed *d, tn_error *err)
{
    *d = (deployed){.record = NULL};
    tn_status status = slurm_place(settings, name, d->folder, err);
    if (status == TN_OK)
        status = slurm_place_check(d->folder, err);
    if (status == TN_OK)
        status = slurm_record_read(d->folder, name, &d->record, err);
    return status == TN_OK ? ask_jobs(name, &d->jobs, err) : status;
}

static bool is_mine(const deployed *d, const slurm_job *job)
{
    return slurm_job_is_live(job) && slurm_place_is(job->folder, d->folder);
}

/* ---- jobs ---- */

static tn_status submit_one(const char *folder, tn_error *err)
{
    char chdir[PATH_MAX + 16], script[PATH_MAX + 16];
    const char *const words[] = {"sbatch", "--parsable", "--export=NONE", chdir, script, NULL};

    snprintf(chdir, sizeof chdir, "--chdir=%s", folder);
    snprintf(script, sizeof script, "%s/" SLURM_SCRIPT, folder);
    return slurm_run(words, NULL, err);
}

/* *ret_taken: Slurm has taken one of them, or may have: it did not answer in time. */
static tn_status submit_many(const char *folder, uint32_t count, bool *ret_taken, tn_error *err)
{
    tn_status status = TN_OK;

    *ret_taken = false;
    for (uint32_t i = 0; status == TN_OK && i < count; i++) {
        status = submit_one(folder, err);
        *ret_taken |= status == TN_OK || status == TN_E_AGAIN;
    }
    return status;
}

/* It has ended, or is about to: Slurm refuses to signal it, if without a word. */
static bool is_over(const slurm_job *job)
{
    return !slurm_job_is_live(job) || strcmp(job->state, "COMPLETING") == 0;
}

/* The same, as it is now. */
static bool has_ended(const deployed *d, const slurm_job *job)
{
    slurm_jobs now = {.at = NULL};
    bool there = ask_jobs(json_string_value(json_object_get(d->record, "name")), &now, NULL) != TN_OK;

    for (uint32_t i = 0; i < now.count; i++)
        there |= strcmp(now.at[i].id, job->id) == 0 && !is_over(&now.at[i]);
    slurm_jobs_finish(&now);
    return !there;
}

static tn_status cancel(const deployed *d, const slurm_job *job, const char *const *words, tn_error *err)
{
    tn_status status = slurm_run(words, NULL, err);
    return status == TN_E_IO && has_ended(d, job) ? TN_OK : status;
}

/* One that waits is cancelled, one that is about to start finds its mark, and one that runs goes on, but does not come
 * back. */
static tn_status mark_one(const deployed *d, const slurm_job *job, tn_error *err)
{
    const char *const words[] = {"scancel", "--quiet", "--state=PENDING", job->id, NULL};

    tn_status status = slurm_file_touch(d->folder, job->id, "stop", err);
    return status == TN_OK && !is_over(job) && strcmp(job->state, "RUNNING") != 0 ? cancel(d, job, words, err) : status;
}

/* To drain: one that runs, if only since a moment ago. */
static tn_status tell_one(const deployed *d, const slurm_job *job, tn_error *err)
{
    const char *const words[] = {"scancel", "--quiet", "--batch", "--signal=USR2", "--state=RUNNING", job->id, NULL};
    return is_over(job) ? TN_OK : cancel(d, job, words, err);
}

static tn_status stop_one(const deployed *d, const slurm_job *job, tn_error *err)
{
    tn_status status = mark_one(d, job, err);
    return status == TN_OK ? tell_one(d, job, err) : status;
}

static bool is_marked(const deployed *d, const slurm_job *job)
{
    return slurm_file_exists(d->folder, job->id, "stop");
}

/* Ends the newest until `left` are to go on; none: those too that wait for others to be ready. */
static tn_status stop_many(const deployed *d, uint32_t left, tn_error *err)
{
    uint32_t wanted = slurm_show_count(&d->jobs, d->folder, true);
    tn_status status = TN_OK;

    for (uint32_t i = d->jobs.count; i-- > 0 && status == TN_OK;) {
        const slurm_job *job = &d->jobs.at[i];
        const bool marked = is_marked(d, job);
        if (!is_mine(d, job) || (left > 0 && (marked || wanted <= left)))
            continue;
        status = stop_one(d, job, err);
        wanted -= !marked;
    }
    return status;
}

static tn_status mark_all(const deployed *d, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < d->jobs.count && status == TN_OK; i++)
        if (is_mine(d, &d->jobs.at[i]))
            status = mark_one(d, &d->jobs.at[i], err);
    return status;
}

/* Those that have their mark: since others are ready now, or since they were put into the queue again, or Slurm did not
 * listen. Whoever looks next says so again. */
static void stop_marked(const deployed *d)
{
    tn_error none = TN_ERROR_INIT;

    for (uint32_t i = 0; i < d->jobs.count; i++)
        if (is_mine(d, &d->jobs.at[i]) && is_marked(d, &d->jobs.at[i]))
            stop_one(d, &d->jobs.at[i], &none);
}

/* As many as are wished for: more are submitted, or the newest ended. */
static tn_status bring_about(const deployed *d, tn_error *err)
{
    uint32_t wanted = (uint32_t)json_integer_value(json_object_get(d->record, "min"));
    uint32_t there = slurm_show_count(&d->jobs, d->folder, true);
    bool taken;

    return there < wanted ? submit_many(d->folder, wanted - there, &taken, err) : stop_many(d, wanted, err);
}

/* ---- show ---- */

/* Versions that jobs from before ran are the registry's to remove, but for the one that runs now. */
static void release_before(const settings *settings, const char *name, const json_t *record)
{
    const char *now = json_string_value(json_object_get(record, "digest"));
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(record, "before"), i, one)
    {
        const char *digest = json_string_value(one);
        if (digest && !(now && strcmp(digest, now) == 0))
            target_keep_model(settings, &target_slurm, name, digest, false, NULL);
    }
}

/* Of what is to be deleted and has ended nothing stays. */
static bool forget(const settings *settings, const char *name, const deployed *d)
{
    if (!json_is_true(json_object_get(d->record, "deleting")) || slurm_show_count(&d->jobs, d->folder, false) > 0 ||
        directory_remove(d->folder, NULL) != TN_OK)
        return false;
    release_before(settings, name, d->record);
    target_keep_model(settings, &target_slurm, name, json_string_value(json_object_get(d->record, "digest")), false,
                      NULL);
    return true;
}

/* What waits for jobs: of those that are ready, that those from before make way, and what they ran; of those that are
 * to be none, that the last has heard of it. */
static tn_status complete(const settings *settings, const char *name, const deployed *d, const char *state,
                          tn_error *err)
{
    const bool ready = strcmp(state, "READY") == 0;

    if (ready || strcmp(state, "SUSPENDING") == 0 || strcmp(state, "DELETING") == 0)
        stop_marked(d);
    if (!ready || !json_object_get(d->record, "before"))
        return TN_OK;
    release_before(settings, name, d->record);
    json_object_del(d->record, "before");
    return slurm_record_write(d->folder, d->record, err);
}

static tn_status show(const settings *settings, const char *name, json_t **ret_service, tn_error *err)
{
    deployed d;
    tn_status status = deployed_open(settings, name, &d, err);

    if (status == TN_OK && forget(settings, name, &d))
        status = tn_fail(err, TN_E_NOT_FOUND, "there is no service \"%.80s\" on slurm any more", name);
    json_t *service = status == TN_OK ? slurm_show_service(d.record, d.folder, &d.jobs) : NULL;
    if (service)
        status = complete(settings, name, &d, json_string_value(json_object_get(service, "state")), err);
    if (status == TN_OK)
        *ret_service = service;
    else
        json_decref(service);
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

/* ---- what was there before ---- */

static tn_status check_free(const char *folder, const char *name, target_submission how, bool *ret_there, tn_error *err)
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
    if (how != TARGET_MAKE && !deleting)
        return TN_OK;
    if (err)
        err->native_code = EEXIST;
    return tn_fail(err, TN_E_ARGUMENT, "name: there is a service %s on slurm already%s", name,
                   deleting ? ", which is being deleted" : "; delete it, or give --replace");
}

static const char *const file_names[] = {SLURM_SCRIPT, SLURM_SETTINGS, SLURM_SECRET, NULL};

/* What a submission finds, for it to be so again if the submission is refused. */
typedef struct found {
    char folder[PATH_MAX];
    bool there;       /* a service of that name */
    deployed service; /* where it is */
    target_files files;
} found;

static void found_finish(found *found)
{
    deployed_finish(&found->service);
    target_files_finish(&found->files);
}

static tn_status found_open(const settings *settings, const char *name, target_submission how, found *ret_found,
                            tn_error *err)
{
    found *f = ret_found;

    *f = (found){.there = false};
    tn_status status = slurm_place(settings, name, f->folder, err);
    if (status == TN_OK)
        status = directory_make(f->folder, err);
    if (status == TN_OK)
        status = slurm_place_check(f->folder, err);
    if (status == TN_OK)
        status = check_free(f->folder, name, how, &f->there, err);
    if (status == TN_OK && f->there)
        status = deployed_open(settings, name, &f->service, err);
    return status == TN_OK ? target_files_read(f->folder, file_names, &f->files, err) : status;
}

static void remove_file(const char *folder, const char *name)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

/* Files that only the other has. */
static void remove_others(const char *folder, const target_files *kept)
{
    for (const char *const *name = file_names; *name; name++)
        if (!target_files_have(kept, *name))
            remove_file(folder, *name);
}

static bool has_job(const slurm_jobs *jobs, const char *id)
{
    for (uint32_t i = 0; i < jobs->count; i++)
        if (strcmp(jobs->at[i].id, id) == 0)
            return true;
    return false;
}

/* Slurm may have taken some before it refused one. */
static void stop_new(const settings *settings, const char *name, const slurm_jobs *old)
{
    tn_error none = TN_ERROR_INIT;
    deployed now;

    if (deployed_open(settings, name, &now, &none) == TN_OK)
        for (uint32_t i = 0; i < now.jobs.count; i++)
            if (is_mine(&now, &now.jobs.at[i]) && !has_job(old, now.jobs.at[i].id))
                stop_one(&now, &now.jobs.at[i], &none);
    deployed_finish(&now);
}

/* Of what could not be submitted nothing is to stay; what was to be replaced is to go on as it did. taken: see
 * submit_many. */
static void take_back(const settings *settings, const char *name, const found *f, bool taken)
{
    tn_error none = TN_ERROR_INIT;

    if (f->there) {
        target_files_write(&f->files, f->folder, &none);
        slurm_record_write(f->folder, f->service.record, &none);
        remove_others(f->folder, &f->files);
        if (taken)
            stop_new(settings, name, &f->service.jobs);
    } else if (taken) {
        remove_service(settings, name, &none);
    } else {
        remove_others(f->folder, &f->files);
        remove_file(f->folder, SLURM_RECORD);
        rmdir(f->folder);
    }
}

/* ---- create ---- */

/* Of those that its jobs ran before. */
static json_t *before_json(const json_t *old, const char *digest)
{
    json_t *before = json_copy(json_object_get(old, "before"));
    const char *was = json_string_value(json_object_get(old, "digest"));

    if (!json_is_array(before)) {
        json_decref(before);
        before = json_array();
    }
    if (was && !(digest && strcmp(digest, was) == 0))
        json_array_append_new(before, json_string(was));
    return before;
}

/* old NULL: there was none. */
static tn_status write_record(const target_service *service, const char *folder, const json_t *old, tn_error *err)
{
    json_t *record = target_service_json(&target_slurm, service), *before = before_json(old, service->digest);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    json_object_set_new(record, "created", json_integer((json_int_t)now.tv_sec * 1000));
    if (json_array_size(before))
        json_object_set(record, "before", before);
    json_decref(before);
    tn_status status = slurm_record_write(folder, record, err);
    json_decref(record);
    return status;
}

static tn_status submit_new(const target_service *service, const target_files *files, const found *f, bool *ret_taken,
                            tn_error *err)
{
    tn_status status = target_files_write(files, f->folder, err);
    *ret_taken = false;
    if (status == TN_OK)
        status = write_record(service, f->folder, f->service.record, err);
    if (status == TN_OK)
        slurm_files_remove(f->folder, "failed");
    return status == TN_OK ? submit_many(f->folder, service->min, ret_taken, err) : status;
}

/* New jobs first: if Slurm refuses them, those that run go on. */
static tn_status submit(const settings *settings, const target_service *service, const target_files *files,
                        target_submission how, tn_error *err)
{
    found f;
    bool taken;

    tn_status status = found_open(settings, service->name, how, &f, err);
    if (status == TN_OK) {
        status = submit_new(service, files, &f, &taken, err);
        if (status != TN_OK)
            take_back(settings, service->name, &f, taken);
    }
    if (status == TN_OK)
        remove_others(f.folder, files);
    if (status == TN_OK && f.there)
        status = how == TARGET_UPDATE ? mark_all(&f.service, err) : stop_many(&f.service, 0, err);
    found_finish(&f);
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
