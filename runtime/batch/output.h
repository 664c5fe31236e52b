/* runtime/batch/output.h: where the answers of a batch go, once all rows have one: JSON lines, CSV, or a table of
 * SQLite.
 *
 * NAME.jsonl, NAME.ndjson, NAME.csv, or sqlite:DATABASE?TABLE. An output is there as a whole or not at all: a file is
 * renamed, a table comes with one commit. Beside it stand NAME.job (job_log.h) and, at the very end, NAME.success; for
 * a table NAME is DATABASE.TABLE. Columns: key, value, status, error_code, error, finish_reason, prompt_tokens,
 * completion_tokens, latency_ms, attempts. A row of OpenAI's input becomes a line of OpenAI's in JSON lines.
 */
#ifndef BATCH_OUTPUT_H
#define BATCH_OUTPUT_H

#include "batch/job_log.h"

#include <limits.h>

typedef enum output_kind { OUTPUT_JSONL, OUTPUT_CSV, OUTPUT_SQLITE } output_kind;

typedef struct batch_output {
    output_kind kind;
    char path[PATH_MAX]; /* of the file, or of the database */
    char table[128];
    char job[PATH_MAX], success[PATH_MAX];
} batch_output;

/* Errors: TN_E_ARGUMENT: no such kind of output; too long. */
tn_status output_parse(const char *name, batch_output *ret_output, tn_error *err);
/* Whether the file, or the table, is there. */
tn_status output_exists(const batch_output *output, bool *ret_exists, tn_error *err);
/* Replaces what is there. */
tn_status output_write(const batch_output *output, job_log *log, tn_error *err);
/* One line of JSON lines, OpenAI's or ours. False: out of memory, or the file says what is wrong. */
bool output_line_write(FILE *file, const json_t *record);
/* Rows that a batch which has ended never asked. */
typedef struct output_unasked {
    const char *input;         /* of the batch: those behind the log's last one */
    const char *code, *reason; /* "batch_expired", and a sentence */
} output_unasked;

/* What has been answered so far (log NULL: nothing), rows that failed aside from the others; each file appears as a
 * whole, empty ones too. unasked: such rows are errors as well, but count aside; NULL: they are left out. */
tn_status output_export(job_log *log, const output_unasked *unasked, const char *answers, const char *errors,
                        job_counts *ret_counts, uint64_t *ret_unasked, tn_error *err);
/* Writes the counts, and when. */
tn_status output_succeed(const batch_output *output, job_counts counts, tn_error *err);

#endif
