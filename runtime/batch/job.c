/* runtime/batch/job.c: see job.h.
 *
 * The log's first line keeps what was asked (service, input, columns, form, params) and the digest of the rows. Order
 * of events: the log's first line, records, the output as a whole, the file of success. Killed between any two, the
 * same command with "resume" does the rest.
 */
#include "batch/job.h"

#include "base/utf8.h"
#include "batch/key_set.h"
#include "batch/runner.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct batch_job {
    batch_output output;
    batch_input input;
    job_log *log;
    const json_t *head; /* owned by the log once it has begun */
    json_t *made_head;  /* owned */
    uint64_t rows;
    char sha256[2 * SHA256_DIGEST_SIZE + 1];
} batch_job;

/* ---- reading the input ---- */

static bool hash_row(struct sha256_ctx *hash, const batch_row *row)
{
    char *body = row->body ? json_dumps(row->body, JSON_COMPACT | JSON_SORT_KEYS) : strdup("");

    if (!body)
        return false;
    sha256_update(hash, strlen(row->key) + 1, (const uint8_t *)row->key);
    sha256_update(hash, strlen(row->path) + 1, (const uint8_t *)row->path);
    sha256_update(hash, strlen(body) + 1, (const uint8_t *)body);
    free(body);
    return true;
}

static void finish_hash(struct sha256_ctx *hash, char hex[2 * SHA256_DIGEST_SIZE + 1])
{
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_digest(hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* What is done with each row; it may move the row away. */
typedef tn_status row_visit(void *context, batch_row *row, uint64_t index, tn_error *err);

static tn_status each_row(batch_input *input, row_visit *visit, void *context, uint64_t *ret_rows,
                          char hex[2 * SHA256_DIGEST_SIZE + 1], tn_error *err)
{
    struct sha256_ctx hash;
    bool any = true;
    uint64_t index = 0;
    tn_status status = TN_OK;

    sha256_init(&hash);
    for (;; index++) {
        batch_row row = {.key = NULL};
        status = input_read(input, &row, &any, err);
        if (status != TN_OK || !any)
            break;
        status = hash_row(&hash, &row) ? visit(context, &row, index, err)
                                       : tn_fail(err, TN_E_MEMORY, "out of memory for a row");
        row_finish(&row);
        if (status != TN_OK)
            break;
    }
    finish_hash(&hash, hex);
    *ret_rows = index;
    return status;
}

typedef struct key_check {
    key_set set;
    const batch_input *input;
} key_check;

static tn_status check_key(void *context, batch_row *row, uint64_t index, tn_error *err)
{
    key_check *check = context;
    const char *noun = input_place_noun(check->input);
    uint64_t before;
    tn_status status = key_set_add(&check->set, row->key, row->place, &before, err);

    (void)index;
    if (status != TN_OK || before == 0)
        return status;
    return tn_fail(err, TN_E_ARGUMENT,
                   "%.200s: the key '%.100s' of %s %" PRIu64 " is that of %s %" PRIu64 " too; keys must differ",
                   check->input->name, row->key, noun, row->place, noun, before);
}

/* The first reading: rows that cannot be, keys that are there twice, the digest. */
static tn_status scan(batch_job *job, tn_error *err)
{
    key_check check = {.input = &job->input};
    tn_status status = key_set_create(&check.set, err);

    if (status != TN_OK)
        return status;
    status = each_row(&job->input, check_key, &check, &job->rows, job->sha256, err);
    key_set_destroy(&check.set);
    return status == TN_OK ? input_rewind(&job->input, err) : status;
}

/* ---- what the job is ---- */

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *describe(const batch_request *request, const batch_job *job)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:b, s:o, s:O, s:I, s:s}", "service", request->service, "input",
                     request->input, "key", text_or_null(request->columns.key), "prompt",
                     text_or_null(request->columns.prompt), "raw", request->raw, "system",
                     text_or_null(request->system), "params", request->params, "rows", (json_int_t)job->rows, "sha256",
                     job->sha256);
}

/* Whether the log that is there is this job's. The input may lie elsewhere now: its rows count. */
static tn_status check_same(const batch_job *job, const json_t *made, tn_error *err)
{
    static const char *const named[] = {"service", "raw", "system", "params"};

    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!json_equal(json_object_get(job->head, named[i]), json_object_get(made, named[i])))
            return tn_fail(err, TN_E_ARGUMENT,
                           "%.250s was begun with another '%s'; go on with that, or begin anew with --mode overwrite",
                           job->output.job, named[i]);
    if (!json_equal(json_object_get(job->head, "sha256"), json_object_get(made, "sha256")))
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.250s was begun with other rows: the input has changed; begin anew with --mode overwrite",
                       job->output.job);
    return TN_OK;
}

static void close_job(batch_job *job)
{
    input_close(&job->input);
    job_log_close(job->log);
    json_decref(job->made_head);
}

/* ---- asking ---- */

typedef struct asker {
    batch_runner *runner;
    const job_log *log;
    uint64_t first; /* rows before have an answer */
    bool failed;    /* those that failed are wanted, and no others */
} asker;

static tn_status ask_row(void *context, batch_row *row, uint64_t index, tn_error *err)
{
    asker *asker = context;
    bool wanted = asker->failed ? job_log_has_failed(asker->log, index) : index >= asker->first;

    return wanted ? runner_ask(asker->runner, row, index, err) : TN_OK;
}

static tn_status cancelled(const batch_job *job, tn_error *err)
{
    return tn_fail(err, TN_E_CANCELLED,
                   "stopped: %" PRIu64 " of %" PRIu64 " rows have an answer; `--mode resume` goes on",
                   job_log_rows(job->log), job->rows);
}

static tn_status ask_rows(batch_job *job, bool failed, const batch_connection *connection, const batch_watch *watch,
                          tn_error *err)
{
    asker asker = {.log = job->log, .first = job_log_rows(job->log), .failed = failed};
    uint64_t wanted = failed ? job_log_counts(job->log).failed : job->rows - asker.first, rows;
    char sha256[sizeof job->sha256];

    if (wanted == 0)
        return TN_OK;
    const runner_job asked = {.service = json_string_value(json_object_get(job->head, "service")),
                              .params = json_object_get(job->head, "params"),
                              .log = job->log,
                              .total = wanted,
                              .rows = job->rows,
                              .zero_bytes = job->output.kind == OUTPUT_JSONL};
    tn_status status = runner_create(connection, &asked, watch, &asker.runner, err);
    if (status != TN_OK)
        return status;
    status = each_row(&job->input, ask_row, &asker, &rows, sha256, err);
    bool stopped = status == TN_E_CANCELLED;
    if (status == TN_OK || stopped)
        status = runner_drain(asker.runner, err);
    if (status == TN_E_CANCELLED) { /* what is in flight is not waited for */
        stopped = true;
        status = TN_OK;
    }
    runner_destroy(asker.runner);
    tn_status synced = job_log_sync(job->log, status == TN_OK ? err : NULL);
    if (status == TN_OK)
        status = synced;
    if (status == TN_OK && stopped)
        return cancelled(job, err);
    if (status == TN_OK && (rows != job->rows || strcmp(sha256, job->sha256) != 0))
        status = tn_fail(err, TN_E_ARGUMENT, "%.200s has changed while the batch ran; begin anew with --mode overwrite",
                         job->input.name);
    return status;
}

/* The input is closed first: its database may be the output's. */
static tn_status complete(batch_job *job, job_counts *ret_counts, tn_error *err)
{
    input_close(&job->input);
    tn_status status = output_write(&job->output, job->log, err);
    if (status == TN_OK)
        status = output_succeed(&job->output, job_log_counts(job->log), err);
    if (status == TN_OK)
        *ret_counts = job_log_counts(job->log);
    return status;
}

/* ---- beginning ---- */

static tn_status forget_success(const batch_job *job, tn_error *err)
{
    if (unlink(job->output.success) == 0 || errno == ENOENT)
        return TN_OK;
    return tn_fail(err, TN_E_IO, "%.300s: %s", job->output.success, strerror(errno));
}

/* What is there and was not to be. A job of ours may have an output already; what others made is not replaced unasked.
 */
static tn_status check_place(const batch_job *job, batch_mode mode, tn_error *err)
{
    bool exists = false, begun = access(job->output.job, F_OK) == 0;

    if (mode == BATCH_OVERWRITE || (mode == BATCH_RESUME && begun))
        return TN_OK;
    if (begun)
        return tn_fail(err, TN_E_ARGUMENT, "%.250s is there: use --mode resume to go on, or --mode overwrite",
                       job->output.job);
    tn_status status = output_exists(&job->output, &exists, err);
    if (status == TN_OK && exists)
        return tn_fail(err, TN_E_ARGUMENT, "%.250s%s%.100s is there already; use another, or --mode overwrite",
                       job->output.path, job->output.table[0] ? "?" : "", job->output.table);
    return status;
}

/* Answers that replaced their own questions could not be resumed, or asked for again. */
static tn_status check_apart(const batch_request *request, const batch_job *job, tn_error *err)
{
    struct stat input, output;

    if (job->input.kind == INPUT_SQLITE || job->output.kind == OUTPUT_SQLITE)
        return TN_OK;
    if (stat(request->input, &input) == 0 && stat(job->output.path, &output) == 0 && input.st_dev == output.st_dev &&
        input.st_ino == output.st_ino)
        return tn_fail(err, TN_E_ARGUMENT, "%.300s is the input: the answers need another place", job->output.path);
    return TN_OK;
}

/* What the log's first line is to say, which is JSON. */
static tn_status check_texts(const batch_request *request, tn_error *err)
{
    const struct {
        const char *what, *text;
    } texts[] = {{"service", request->service},
                 {"input", request->input},
                 {"key column", request->columns.key},
                 {"prompt column", request->columns.prompt},
                 {"system text", request->system}};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text && !utf8_is_valid(texts[i].text, strlen(texts[i].text)))
            return tn_fail(err, TN_E_ARGUMENT, "the %s is not valid UTF-8", texts[i].what);
    return TN_OK;
}

/* The log, begun if it is not. */
static tn_status begin(batch_job *job, const batch_request *request, tn_error *err)
{
    tn_status status =
        job_log_open(job->output.job, request->mode == BATCH_OVERWRITE ? JOB_LOG_ANEW : JOB_LOG_WRITE, &job->log, err);

    if (status != TN_OK)
        return status;
    job->made_head = describe(request, job);
    if (!job->made_head)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a batch");
    job->head = job_log_head(job->log);
    if (job->head)
        return check_same(job, job->made_head, err);
    status = forget_success(job, err);
    if (status == TN_OK)
        status = job_log_begin(job->log, job->made_head, err);
    job->head = job->made_head;
    return status;
}

tn_status batch_run(const batch_request *request, const batch_connection *connection, const batch_watch *watch,
                    job_counts *ret_counts, tn_error *err)
{
    batch_job job = {.log = NULL};
    const row_form form = {request->raw, request->system, request->service};
    tn_status status = check_texts(request, err);

    if (status == TN_OK)
        status = output_parse(request->output, &job.output, err);
    if (status == TN_OK)
        status = check_place(&job, request->mode, err);
    if (status == TN_OK)
        status = input_open(request->input, &form, &request->columns, &job.input, err);
    if (status == TN_OK)
        status = check_apart(request, &job, err);
    if (status == TN_OK)
        status = scan(&job, err);
    if (status == TN_OK)
        status = begin(&job, request, err);
    if (status == TN_OK && watch->counts)
        watch->counts(job_log_counts(job.log), job.rows);
    if (status == TN_OK)
        status = ask_rows(&job, false, connection, watch, err);
    if (status == TN_OK)
        status = complete(&job, ret_counts, err);
    close_job(&job);
    return status;
}

/* ---- again ---- */

/* The input as the log's first line tells it. */
static tn_status reopen_input(batch_job *job, tn_error *err)
{
    const json_t *head = job->head;
    const char *input = json_string_value(json_object_get(head, "input"));
    const char *service = json_string_value(json_object_get(head, "service"));
    const row_form form = {json_is_true(json_object_get(head, "raw")),
                           json_string_value(json_object_get(head, "system")), service};
    const input_columns columns = {json_string_value(json_object_get(head, "key")),
                                   json_string_value(json_object_get(head, "prompt"))};

    if (!input || !service || !json_is_object(json_object_get(head, "params")))
        return tn_fail(err, TN_E_CORRUPT, "%.300s: the first line lacks the input, the service or the params",
                       job->output.job);
    tn_status status = input_open(input, &form, &columns, &job->input, err);
    if (status == TN_OK)
        status = scan(job, err);
    const char *sha256 = json_string_value(json_object_get(head, "sha256"));
    if (status == TN_OK && (!sha256 || strcmp(sha256, job->sha256) != 0))
        status = tn_fail(err, TN_E_ARGUMENT, "%.250s was begun with other rows: the input has changed since",
                         job->output.job);
    if (status == TN_OK && job_log_rows(job->log) != job->rows)
        status = tn_fail(err, TN_E_ARGUMENT,
                         "%.250s: rows are left that were never asked; `tenon batch run --mode resume` goes on",
                         job->output.job);
    return status;
}

tn_status batch_retry(const char *output, const batch_connection *connection, const batch_watch *watch,
                      job_counts *ret_counts, tn_error *err)
{
    batch_job job = {.log = NULL};
    tn_status status = output_parse(output, &job.output, err);

    if (status == TN_OK && access(job.output.job, F_OK) != 0)
        status = tn_fail(err, TN_E_NOT_FOUND, "%.300s: there is no such batch", job.output.job);
    if (status == TN_OK)
        status = job_log_open(job.output.job, JOB_LOG_WRITE, &job.log, err);
    if (status == TN_OK) {
        job.head = job_log_head(job.log);
        status = reopen_input(&job, err);
    }
    if (status == TN_OK)
        status = ask_rows(&job, true, connection, watch, err);
    if (status == TN_OK)
        status = complete(&job, ret_counts, err);
    close_job(&job);
    return status;
}
