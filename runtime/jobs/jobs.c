/* jobs.c: the list, its files, and who runs. */
#include "jobs/state.h"

#include "base/utf8.h"
#include "batch/place_name.h"
#include "file/directory.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

bool job_has_ended(const json_t *job)
{
    static const char *const ended[] = {"completed", "failed", "expired", "cancelled"};

    for (size_t i = 0; i < sizeof ended / sizeof *ended; i++)
        if (strcmp(text_of(job, "status"), ended[i]) == 0)
            return true;
    return false;
}

json_t *job_error(const char *code, const char *message)
{
    char text[640];

    snprintf(text, sizeof text, "%s", message);
    utf8_repair(text); /* it may quote anything, and end in the middle of a character */
    return json_pack("{s:s, s:[{s:s, s:s, s:n, s:n}]}", "object", "list", "data", "code", code, "message", text, "line",
                     "param");
}

void job_path(const jobs *jobs, const char *id, const char *name, char ret_path[PATH_MAX])
{
    snprintf(ret_path, PATH_MAX, "%s/%.*s%s%.32s", jobs->folder, JOB_ID_BYTES, id, *name ? "/" : "", name);
}

/* Under lock. The list's size: there is none. */
static size_t index_of(const jobs *jobs, const char *id)
{
    size_t i, n = json_array_size(jobs->list);

    for (i = 0; i < n && strcmp(text_of(json_array_get(jobs->list, i), "id"), id) != 0; i++)
        ;
    return i;
}

json_t *jobs_look(jobs *jobs, const char *id)
{
    return json_array_get(jobs->list, index_of(jobs, id));
}

/* ---- on the disk ---- */

static tn_status save(const jobs *jobs, const json_t *job, tn_error *err)
{
    char name[JOB_ID_BYTES + 8];
    char *text = json_dumps(job, JSON_COMPACT);

    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a job");
    snprintf(name, sizeof name, "%.*s.json", JOB_ID_BYTES, text_of(job, "id"));
    tn_status status = whole_file_put(jobs->folder, name, text, strlen(text), err);
    free(text);
    return status;
}

/* With all that its worker takes for granted. */
static bool is_job(const json_t *job)
{
    const json_t *task = json_object_get(job, "task");
    const bool batch = strcmp(text_of(task, "kind"), "batch") == 0;
    const bool placed = batch ? *text_of(job, "endpoint") && *text_of(job, "input_file_id") &&
                                    *text_of(task, "output_file_id") && *text_of(task, "error_file_id")
                              : *text_of(task, "input") && *text_of(task, "output");

    return strncmp(text_of(job, "id"), "batch_", 6) == 0 && *text_of(job, "status") &&
           json_is_integer(json_object_get(job, "created_at")) && json_is_string(json_object_get(task, "kind")) &&
           json_is_string(json_object_get(task, "service")) && json_is_array(json_object_get(task, "words")) && placed;
}

/* Oldest first. */
static bool insert(jobs *jobs, json_t *job)
{
    const json_int_t created = json_integer_value(json_object_get(job, "created_at"));
    size_t at = json_array_size(jobs->list);

    while (at > 0 && json_integer_value(json_object_get(json_array_get(jobs->list, at - 1), "created_at")) > created)
        at--;
    return json_array_insert_new(jobs->list, at, job) == 0;
}

/* What a daemon that was killed had no time for: the folder of one that has ended; it stays where the answers have
 * found no other place. */
static void clear(const jobs *jobs, const json_t *job)
{
    char path[PATH_MAX];
    tn_error err = TN_ERROR_INIT;

    if (!job_has_ended(job) || strcmp(text_of(job, "status"), "failed") == 0)
        return;
    job_path(jobs, text_of(job, "id"), "", path);
    directory_remove(path, &err);
}

static tn_status read_job(jobs *jobs, const char *name, tn_error *err)
{
    char path[PATH_MAX], sentence[PATH_MAX + 128];
    json_error_t fault;

    if (strncmp(name, "batch_", 6) != 0)
        return TN_OK;
    snprintf(path, sizeof path, "%s/%.100s", jobs->folder, name);
    if (place_name_ends(name, ".json.partial"))
        unlink(path);
    if (!place_name_ends(name, ".json"))
        return TN_OK;
    json_t *job = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    const char *id = text_of(job, "id");
    if (is_job(job) && strlen(id) == strlen(name) - 5 && strncmp(id, name, strlen(id)) == 0) {
        clear(jobs, job);
        return insert(jobs, job) ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for a list of jobs");
    }
    json_decref(job);
    snprintf(sentence, sizeof sentence, "%s: this job is damaged and is left alone; restore or remove it", path);
    if (jobs->options.tell)
        jobs->options.tell(sentence);
    return TN_OK;
}

static tn_status read_folder(jobs *jobs, tn_error *err)
{
    tn_status status = directory_make(jobs->folder, err);
    DIR *folder = NULL;

    if (status == TN_OK && (chmod(jobs->folder, 0700) != 0 || !(folder = opendir(jobs->folder))))
        status = tn_fail(err, TN_E_IO, "%.300s: %s", jobs->folder, strerror(errno));
    for (const struct dirent *entry; status == TN_OK && (entry = readdir(folder));)
        status = read_job(jobs, entry->d_name, err);
    if (folder)
        closedir(folder);
    return status;
}

/* Under lock. */
static tn_status change(jobs *jobs, json_t *job, json_t *changes, bool durable, tn_error *err)
{
    if (!changes || json_object_update(job, changes) != 0)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a job");
    return durable ? save(jobs, job, err) : TN_OK;
}

static void tell_failure(const jobs *jobs, const char *id, const tn_error *err)
{
    char sentence[640];

    snprintf(sentence, sizeof sentence, "job %.40s: %.500s", id, err->msg);
    if (jobs->options.tell)
        jobs->options.tell(sentence);
}

void jobs_change(jobs *jobs, const char *id, json_t *changes, bool durable)
{
    tn_error err = TN_ERROR_INIT;

    pthread_mutex_lock(&jobs->lock);
    json_t *job = jobs_look(jobs, id);
    TN_ASSERT(job);
    if (changes && strcmp(text_of(job, "status"), "cancelling") == 0)
        json_object_del(changes, "status"); /* what is to end does not go on */
    tn_status status = change(jobs, job, changes, durable, &err);
    pthread_mutex_unlock(&jobs->lock);
    json_decref(changes);
    if (status != TN_OK)
        tell_failure(jobs, id, &err);
}

/* Who was told "cancelling" waits for "cancelled". */
void jobs_end(jobs *jobs, const char *id, const char *status, json_t *changes)
{
    char at[32];
    tn_error err = TN_ERROR_INIT;

    pthread_mutex_lock(&jobs->lock);
    json_t *job = jobs_look(jobs, id);
    TN_ASSERT(job);
    if (strcmp(status, "completed") == 0 && strcmp(text_of(job, "status"), "cancelling") == 0)
        status = "cancelled";
    snprintf(at, sizeof at, "%s_at", status);
    if (changes && (json_object_set_new(changes, "status", json_string(status)) != 0 ||
                    json_object_set_new(changes, at, json_integer((json_int_t)time(NULL))) != 0)) {
        json_decref(changes);
        changes = NULL;
    }
    tn_status changed = change(jobs, job, changes, true, &err);
    pthread_mutex_unlock(&jobs->lock);
    json_decref(changes);
    if (changed != TN_OK)
        tell_failure(jobs, id, &err);
}

/* ---- who runs ---- */

typedef struct worker {
    jobs *jobs;
    char id[JOB_ID_BYTES];
} worker;

static void start_ready(jobs *jobs);

static void *run(void *argument)
{
    worker *worker = argument;
    jobs *jobs = worker->jobs;

    job_work(jobs, worker->id);
    pthread_mutex_lock(&jobs->lock);
    json_object_del(jobs->workers, worker->id);
    jobs->running--;
    start_ready(jobs);
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    free(worker);
    return NULL;
}

/* Under lock. A thread that cannot be had is tried for again when another ends, or one is added. */
static bool start_one(jobs *jobs, const char *id)
{
    pthread_attr_t detached;
    pthread_t thread;
    worker *worker = malloc(sizeof *worker);

    if (!worker)
        return false;
    worker->jobs = jobs;
    snprintf(worker->id, sizeof worker->id, "%s", id);
    bool started = json_object_set_new(jobs->workers, id, json_true()) == 0;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (started && pthread_create(&thread, &detached, run, worker) != 0) {
        json_object_del(jobs->workers, id);
        started = false;
    }
    pthread_attr_destroy(&detached);
    jobs->running += started;
    if (!started)
        free(worker);
    return started;
}

/* Under lock. */
static void start_ready(jobs *jobs)
{
    json_t *job;
    size_t i;

    json_array_foreach(jobs->list, i, job)
    {
        const char *id = text_of(job, "id");
        if (!jobs->started || jobs->stopping || jobs->running >= jobs->options.running_max)
            return;
        if (!job_has_ended(job) && !json_object_get(jobs->workers, id) && !start_one(jobs, id))
            return;
    }
}

void jobs_start(jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    jobs->started = jobs->server != NULL;
    start_ready(jobs);
    pthread_mutex_unlock(&jobs->lock);
}

void jobs_stop(jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    jobs->stopping = true;
    pthread_cond_broadcast(&jobs->changed);
    while (jobs->running > 0)
        pthread_cond_wait(&jobs->changed, &jobs->lock);
    pthread_mutex_unlock(&jobs->lock);
}

/* ---- life ---- */

static tn_status open_parts(jobs *jobs, const jobs_options *options, tn_error *err)
{
    char files[PATH_MAX];

    jobs->list = json_array();
    jobs->workers = json_object();
    jobs->program = strdup(options->program);
    jobs->server = options->server ? strdup(options->server) : NULL;
    if (!jobs->list || !jobs->workers || !jobs->program || (options->server && !jobs->server))
        return tn_fail(err, TN_E_MEMORY, "out of memory for jobs");
    int bytes = snprintf(jobs->folder, sizeof jobs->folder, "%s/jobs", options->folder);
    snprintf(files, sizeof files, "%s/files", options->folder);
    if (bytes >= (int)sizeof jobs->folder)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", options->folder);
    tn_status status = job_files_open(files, &options->files, options->tell, &jobs->files, err);
    return status == TN_OK ? read_folder(jobs, err) : status;
}

tn_status jobs_open(const jobs_options *options, jobs **ret_jobs, tn_error *err)
{
    jobs *jobs = calloc(1, sizeof *jobs);

    if (!jobs)
        return tn_fail(err, TN_E_MEMORY, "out of memory for jobs");
    jobs->options = *options;
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->changed, NULL);
    tn_status status = open_parts(jobs, options, err);
    if (status != TN_OK) {
        jobs_close(jobs);
        return status;
    }
    jobs_sweep(jobs);
    *ret_jobs = jobs;
    return TN_OK;
}

void jobs_close(jobs *jobs)
{
    if (!jobs)
        return;
    TN_ASSERT(jobs->running == 0);
    job_files_close(jobs->files);
    json_decref(jobs->list);
    json_decref(jobs->workers);
    free(jobs->program);
    free(jobs->server);
    pthread_cond_destroy(&jobs->changed);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

job_files *jobs_files(jobs *jobs)
{
    return jobs->files;
}

const char *jobs_obstacle(const jobs *jobs)
{
    return jobs->server ? NULL
                        : "batches ask this daemon over a unix socket, since its other doors want a token: add "
                          "unix:/PATH to [http_frontend] listen";
}

/* ---- what is asked of them ---- */

static tn_status begin_job(json_t *job, tn_error *err)
{
    char id[JOB_ID_BYTES], output[JOB_ID_BYTES], errors[JOB_ID_BYTES];
    const json_int_t now = (json_int_t)time(NULL);
    json_t *task = json_object_get(job, "task");

    job_id_make("batch_", id);
    job_id_make("file-", output);
    job_id_make("file-", errors);
    json_t *fields = json_pack(
        "{s:s, s:s, s:n, s:s, s:n, s:n, s:I, s:n, s:I, s:n, s:n, s:n, s:n, s:n, s:n, s:{s:i, s:i, s:i}}", "id", id,
        "object", "batch", "errors", "status", "validating", "output_file_id", "error_file_id", "created_at", now,
        "in_progress_at", "expires_at", now + JOBS_COMPLETION_SECONDS, "finalizing_at", "completed_at", "failed_at",
        "expired_at", "cancelling_at", "cancelled_at", "request_counts", "total", 0, "completed", 0, "failed", 0);
    bool whole = fields && json_object_update(job, fields) == 0 &&
                 json_object_set_new(task, "output_file_id", json_string(output)) == 0 &&
                 json_object_set_new(task, "error_file_id", json_string(errors)) == 0;
    json_decref(fields);
    return whole ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for a job");
}

tn_status jobs_create(jobs *jobs, json_t *job, json_t **ret_job, tn_error *err)
{
    tn_status status = job ? begin_job(job, err) : tn_fail(err, TN_E_MEMORY, "out of memory for a job");

    if (status != TN_OK) {
        json_decref(job);
        return status;
    }
    *ret_job = json_deep_copy(job);
    pthread_mutex_lock(&jobs->lock);
    if (json_array_size(jobs->list) >= JOBS_MAX)
        status = tn_fail(err, TN_E_MEMORY, "there are %d jobs, the most there may be", JOBS_MAX);
    if (status == TN_OK)
        status = save(jobs, job, err);
    if (status == TN_OK && !insert(jobs, json_incref(job)))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a job");
    if (status == TN_OK)
        start_ready(jobs);
    pthread_mutex_unlock(&jobs->lock);
    json_decref(job);
    if (status != TN_OK)
        json_decref(*ret_job);
    return status;
}

json_t *jobs_find(jobs *jobs, const char *id)
{
    pthread_mutex_lock(&jobs->lock);
    json_t *copy = json_deep_copy(jobs_look(jobs, id));
    pthread_mutex_unlock(&jobs->lock);
    return copy;
}

json_t *jobs_list(jobs *jobs)
{
    json_t *list = json_array();
    bool whole = list != NULL;

    pthread_mutex_lock(&jobs->lock);
    for (size_t i = json_array_size(jobs->list); i-- > 0 && whole;)
        whole = json_array_append_new(list, json_deep_copy(json_array_get(jobs->list, i))) == 0;
    pthread_mutex_unlock(&jobs->lock);
    if (!whole) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* One that nobody works at ends at once. Under lock. */
static tn_status cancel(jobs *jobs, json_t *job, tn_error *err)
{
    const json_int_t now = (json_int_t)time(NULL);
    const bool sql = strcmp(text_of(json_object_get(job, "task"), "kind"), "sql") == 0; /* its database is to be told */
    const bool begun = sql || json_object_get(jobs->workers, text_of(job, "id")) || *text_of(job, "status") != 'v';
    json_t *changes = json_pack("{s:s, s:I}", "status", begun ? "cancelling" : "cancelled", "cancelling_at", now);

    if (changes && !begun)
        json_object_set_new(changes, "cancelled_at", json_integer(now));
    tn_status status = changes && json_object_update(job, changes) == 0
                           ? save(jobs, job, err)
                           : tn_fail(err, TN_E_MEMORY, "out of memory for a job");
    json_decref(changes);
    return status;
}

tn_status jobs_cancel(jobs *jobs, const char *id, tn_error *err)
{
    tn_status status = TN_OK;

    pthread_mutex_lock(&jobs->lock);
    json_t *job = jobs_look(jobs, id);
    if (!job)
        status = tn_fail(err, TN_E_NOT_FOUND, "there is no batch '%.64s'", id);
    else if (job_has_ended(job))
        status = tn_fail(err, TN_E_AGAIN, "the batch '%.64s' has ended already: it is %s", id, text_of(job, "status"));
    else if (strcmp(text_of(job, "status"), "cancelling") != 0)
        status = cancel(jobs, job, err);
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
    return status;
}

/* Under lock. */
static tn_status remove_at(jobs *jobs, size_t index, tn_error *err)
{
    char path[PATH_MAX], *id = strdup(text_of(json_array_get(jobs->list, index), "id"));

    if (!id)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a name");
    job_path(jobs, id, "", path);
    tn_status status = directory_remove(path, err);
    snprintf(path, sizeof path, "%s/%.*s.json", jobs->folder, JOB_ID_BYTES, id);
    if (status == TN_OK && unlink(path) != 0 && errno != ENOENT)
        status = tn_fail(err, TN_E_IO, "%.300s: %s", path, strerror(errno));
    if (status == TN_OK)
        json_array_remove(jobs->list, index);
    free(id);
    return status;
}

tn_status jobs_remove(jobs *jobs, const char *id, tn_error *err)
{
    pthread_mutex_lock(&jobs->lock);
    while (job_has_ended(jobs_look(jobs, id)) && json_object_get(jobs->workers, id)) /* its folder is being removed */
        pthread_cond_wait(&jobs->changed, &jobs->lock);
    const size_t index = index_of(jobs, id);
    const json_t *job = json_array_get(jobs->list, index);
    tn_status status = !job ? tn_fail(err, TN_E_NOT_FOUND, "there is no batch '%.64s'", id)
                       : !job_has_ended(job) || json_object_get(jobs->workers, id)
                           ? tn_fail(err, TN_E_AGAIN, "the batch '%.64s' has not ended; cancel it first", id)
                           : remove_at(jobs, index, err);
    pthread_mutex_unlock(&jobs->lock);
    return status;
}

bool jobs_use_file(jobs *jobs, const char *file_id)
{
    bool used = false;
    json_t *job;
    size_t i;

    pthread_mutex_lock(&jobs->lock);
    json_array_foreach(jobs->list, i, job) used |=
        !job_has_ended(job) && strcmp(text_of(job, "input_file_id"), file_id) == 0;
    pthread_mutex_unlock(&jobs->lock);
    return used;
}

static bool is_used(void *ctx, const char *id)
{
    return jobs_use_file(ctx, id);
}

void jobs_sweep(jobs *jobs)
{
    const int64_t expiry = jobs->options.files.expiry_s, now = (int64_t)time(NULL);
    tn_error err = TN_ERROR_INIT;

    job_files_sweep(jobs->files, is_used, jobs);
    pthread_mutex_lock(&jobs->lock);
    for (size_t i = json_array_size(jobs->list); expiry && i-- > 0;) {
        const json_t *job = json_array_get(jobs->list, i);
        bool old = json_integer_value(json_object_get(job, "expires_at")) + expiry < now;
        if (old && job_has_ended(job) && !json_object_get(jobs->workers, text_of(job, "id")))
            remove_at(jobs, i, &err); /* one that stays is tried again with the next sweep */
    }
    pthread_mutex_unlock(&jobs->lock);
}
