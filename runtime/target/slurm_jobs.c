/* slurm_jobs.c: see slurm_jobs.h. The format puts what Slurm chooses first and the path, which may hold anything but a
 * line's end, last. Source: squeue(1) of 22.05. */
#include "target/slurm_jobs.h"

#include "target/slurm_program.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIELDS = 6, FIELD_START = 3 };

/* Its beginning, where it is longer. */
static void take(char *ret_text, size_t bytes, const char *from, size_t count)
{
    if (count >= bytes)
        count = bytes - 1;
    memcpy(ret_text, from, count);
    ret_text[count] = '\0';
}

/* "2026-11-28T14:49:54", the machine's time; 0: "N/A". */
static uint64_t read_time(const char *text)
{
    struct tm time = {.tm_isdst = -1};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &time);
    time_t seconds = end && !*end ? mktime(&time) : -1;

    return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

/* False: it is not of the format. */
static bool read_line(const char *line, size_t bytes, slurm_job *job)
{
    const char *field[FIELDS], *end = line + bytes;
    size_t length[FIELDS];
    char start[32];

    for (int i = 0; i < FIELDS; i++) {
        const char *bar = i < FIELDS - 1 ? memchr(line, '|', (size_t)(end - line)) : end;
        if (!bar)
            return false;
        field[i] = line;
        length[i] = (size_t)(bar - line);
        line = bar < end ? bar + 1 : end;
    }
    if (length[0] == 0 || length[1] == 0 || length[5] == 0 || field[5][0] != '/' || length[5] >= sizeof job->folder)
        return false;
    take(job->id, sizeof job->id, field[0], length[0]);
    take(job->state, sizeof job->state, field[1], length[1]);
    take(job->host, sizeof job->host, field[2], length[2]);
    take(start, sizeof start, field[FIELD_START], length[FIELD_START]);
    take(job->reason, sizeof job->reason, field[4], length[4]);
    take(job->folder, sizeof job->folder, field[5], length[5]);
    if (strcmp(job->host, "n/a") == 0)
        job->host[0] = '\0';
    job->started_ms = read_time(start);
    return true;
}

static bool is_whole_job(const slurm_job *job, size_t id_bytes)
{
    return id_bytes < sizeof job->id && !job->id[strspn(job->id, "0123456789")];
}

static int by_id(const void *a, const void *b)
{
    const unsigned long long x = strtoull(((const slurm_job *)a)->id, NULL, 10);
    const unsigned long long y = strtoull(((const slurm_job *)b)->id, NULL, 10);

    return (x > y) - (x < y);
}

tn_status slurm_jobs_parse(const char *text, slurm_jobs *ret_jobs, tn_error *err)
{
    slurm_jobs jobs = {.at = NULL};
    tn_status status = TN_OK;

    while (*text && status == TN_OK) {
        size_t bytes = strcspn(text, "\n");
        slurm_job job = {.started_ms = 0};
        if (!read_line(text, bytes, &job)) {
            status = tn_fail(err, TN_E_CORRUPT, "squeue says what is no line of \"%s\": %.*s", SLURM_JOBS_FORMAT,
                             bytes < 80 ? (int)bytes : 80, text);
        } else if (is_whole_job(&job, strcspn(text, "|"))) {
            slurm_job *grown = jobs.count < SLURM_JOBS_MAX ? realloc(jobs.at, (jobs.count + 1) * sizeof *grown) : NULL;
            if (grown) {
                jobs.at = grown;
                jobs.at[jobs.count++] = job;
            } else {
                status = jobs.count < SLURM_JOBS_MAX
                             ? tn_fail(err, TN_E_MEMORY, "out of memory for Slurm's jobs")
                             : tn_fail(err, TN_E_CORRUPT, "squeue lists more than %d jobs", SLURM_JOBS_MAX);
            }
        }
        text += bytes + (text[bytes] == '\n');
    }
    if (status != TN_OK) {
        slurm_jobs_finish(&jobs);
        return status;
    }
    if (jobs.count)
        qsort(jobs.at, jobs.count, sizeof *jobs.at, by_id);
    *ret_jobs = jobs;
    return TN_OK;
}

tn_status slurm_jobs_ask(const char *names, slurm_jobs *ret_jobs, tn_error *err)
{
    const char *const words[] = {"squeue", "--noheader", "--me", "--states=all", "--format=" SLURM_JOBS_FORMAT,
                                 "--name", names,        NULL};
    char *text = NULL;
    tn_status status = slurm_run(words, &text, err);

    if (status == TN_OK)
        status = slurm_jobs_parse(text, ret_jobs, err);
    free(text);
    return status;
}

void slurm_jobs_finish(slurm_jobs *jobs)
{
    free(jobs->at);
    *jobs = (slurm_jobs){0};
}

bool slurm_job_is_live(const slurm_job *job)
{
    static const char *const live[] = {"PENDING",     "CONFIGURING",  "RUNNING",      "COMPLETING",   "REQUEUED",
                                       "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESIZING",     "SIGNALING",
                                       "STAGE_OUT",   "STOPPED",      "SUSPENDED",    "RESV_DEL_HOLD"};

    for (size_t i = 0; i < sizeof live / sizeof *live; i++)
        if (strcmp(job->state, live[i]) == 0)
            return true;
    return false;
}
