/* runtime/batch/output.c: see output.h. */
#include "batch/output.h"

#include "batch/csv_reader.h"
#include "batch/output_table.h"
#include "batch/place_name.h"
#include "file/whole_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const output_columns[OUTPUT_COLUMNS] = {"key",        "value",         "status",        "error_code",
                                                    "error",      "finish_reason", "prompt_tokens", "completion_tokens",
                                                    "latency_ms", "attempts"};
static tn_status name_files(const char *name, batch_output *output, tn_error *err)
{
    int job = snprintf(output->job, sizeof output->job, "%s.job", name);
    int success = snprintf(output->success, sizeof output->success, "%s.success", name);

    return job < (int)sizeof output->job && success < (int)sizeof output->success
               ? TN_OK
               : tn_fail(err, TN_E_ARGUMENT, "%.300s: the path is too long", name);
}

static tn_status parse_table(const char *name, batch_output *output, tn_error *err)
{
    const char *path = place_name_database(name), *mark = strrchr(path, '?');
    char joined[PATH_MAX];

    if (!mark || mark == path || mark[1] == '\0' || strlen(mark + 1) >= sizeof output->table || strchr(mark, '/'))
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.300s: write sqlite:DATABASE?TABLE, with a table's name of up to %zu bytes without '/'", name,
                       sizeof output->table - 1);
    int bytes = snprintf(output->path, sizeof output->path, "%.*s", (int)(mark - path), path);
    int all = snprintf(joined, sizeof joined, "%.*s.%s", (int)(mark - path), path, mark + 1);
    snprintf(output->table, sizeof output->table, "%s", mark + 1);
    if (bytes >= (int)sizeof output->path || all >= (int)sizeof joined)
        return tn_fail(err, TN_E_ARGUMENT, "%.300s: the path is too long", name);
    return name_files(joined, output, err);
}

tn_status output_parse(const char *name, batch_output *ret_output, tn_error *err)
{
    batch_output output = {.kind = place_name_is_csv(name) ? OUTPUT_CSV : OUTPUT_JSONL};
    tn_status status;

    if (place_name_database(name)) {
        output.kind = OUTPUT_SQLITE;
        status = parse_table(name, &output, err);
    } else if (!place_name_is_csv(name) && !place_name_is_json_lines(name)) {
        status = tn_fail(err, TN_E_ARGUMENT,
                         "%.300s: an output is NAME.jsonl, NAME.ndjson, NAME.csv or sqlite:DATABASE?TABLE", name);
    } else {
        snprintf(output.path, sizeof output.path, "%s", name);
        status = name_files(name, &output, err); /* longer names, so they fit if these do */
    }
    if (status == TN_OK)
        *ret_output = output;
    return status;
}

tn_status output_exists(const batch_output *output, bool *ret_exists, tn_error *err)
{
    if (output->kind == OUTPUT_SQLITE)
        return output_table_exists(output, ret_exists, err);
    *ret_exists = access(output->path, F_OK) == 0;
    return TN_OK;
}

/* ---- lines ---- */

static void write_csv(FILE *file, const json_t *record)
{
    for (int i = 0; i < OUTPUT_COLUMNS; i++) {
        const json_t *value = json_object_get(record, output_columns[i]);
        if (i > 0)
            putc(',', file);
        if (json_is_string(value))
            csv_write_field(file, json_string_value(value));
        else if (json_is_integer(value))
            fprintf(file, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    putc('\n', file);
}

static json_t *error_of(const json_t *record)
{
    json_t *code = json_object_get(record, "error_code");
    return json_is_string(code) ? json_pack("{s:O, s:O}", "code", code, "message", json_object_get(record, "error"))
                                : json_null();
}

/* What the server refused by a status, as it said so. */
static json_t *refusal_of(const json_t *record, json_int_t http_status)
{
    const char *type = http_status == 429   ? "rate_limit_error"
                       : http_status >= 500 ? "server_error"
                                            : "invalid_request_error";

    return json_pack("{s:I, s:n, s:{s:{s:O, s:s, s:n, s:O}}}", "status_code", http_status, "request_id", "body",
                     "error", "message", json_object_get(record, "error"), "type", type, "param", "code",
                     json_object_get(record, "error_code"));
}

/* OpenAI's: an answer and what the server refused by a status both stand in "response", with its status; what no status
 * came for (a connection lost, a time that ran out, an answer without a text) in "error". */
static json_t *openai_line(const json_t *record)
{
    json_t *answer = json_object_get(record, "response"), *response = json_null();
    const json_int_t refused = json_integer_value(json_object_get(record, "http_status"));

    if (json_is_object(answer))
        response = json_pack("{s:i, s:O?, s:O}", "status_code", 200, "request_id", json_object_get(answer, "id"),
                             "body", answer);
    else if (refused)
        response = refusal_of(record, refused);
    return json_pack(
        "{s:o, s:O, s:o, s:o}", "id",
        json_sprintf("batch_req_%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(record, "row"))),
        "custom_id", json_object_get(record, "key"), "response", response, "error",
        refused ? json_null() : error_of(record));
}

static json_t *plain_line(const json_t *record)
{
    json_t *line = json_object();

    for (int i = 0; i < OUTPUT_COLUMNS && line; i++) {
        json_t *value = json_object_get(record, output_columns[i]);
        if (json_object_set_new(line, output_columns[i], value ? json_incref(value) : json_null()) != 0) {
            json_decref(line);
            return NULL;
        }
    }
    return line;
}

bool output_line_write(FILE *file, const json_t *record)
{
    json_t *line = (json_object_get(record, "response") ? openai_line : plain_line)(record);
    bool written = line && json_dumpf(line, file, JSON_COMPACT) == 0;

    json_decref(line);
    putc('\n', file);
    return written;
}

/* ---- files ---- */

typedef struct file_writer {
    const batch_output *output;
    FILE *file;
} file_writer;

static tn_status write_record(void *context, const json_t *record, tn_error *err)
{
    file_writer *writer = context;
    bool written = true;

    if (writer->output->kind == OUTPUT_CSV)
        write_csv(writer->file, record);
    else
        written = output_line_write(writer->file, record);
    if (ferror(writer->file))
        return tn_fail(err, TN_E_IO, "%.300s: %s", writer->output->path, strerror(errno));
    return written ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for a line of the output");
}

/* A FILE over a descriptor of its own for the same open file. */
static tn_status write_lines(const batch_output *output, const whole_file *whole, job_log *log, tn_error *err)
{
    int fd = dup(whole->fd);
    file_writer writer = {output, fd < 0 ? NULL : fdopen(fd, "w")};

    if (!writer.file) {
        if (fd >= 0)
            close(fd);
        return tn_fail(err, TN_E_IO, "%.300s: %s", output->path, strerror(errno));
    }
    for (int i = 0; i < OUTPUT_COLUMNS && output->kind == OUTPUT_CSV; i++)
        fprintf(writer.file, "%s%c", output_columns[i], i + 1 < OUTPUT_COLUMNS ? ',' : '\n');
    tn_status status = job_log_each(log, write_record, &writer, err);
    if (fclose(writer.file) != 0 && status == TN_OK)
        status = tn_fail(err, TN_E_IO, "%.300s: %s", output->path, strerror(errno));
    return status;
}

tn_status output_write(const batch_output *output, job_log *log, tn_error *err)
{
    whole_file whole;

    if (output->kind == OUTPUT_SQLITE)
        return output_table_write(output, log, err);
    tn_status status = whole_file_begin_path(&whole, output->path, err);
    if (status != TN_OK)
        return status;
    status = write_lines(output, &whole, log, err);
    if (status == TN_OK)
        return whole_file_end(&whole, err);
    whole_file_abandon(&whole);
    return status;
}

tn_status output_succeed(const batch_output *output, job_counts counts, tn_error *err)
{
    whole_file whole;
    char text[256], time_text[32];
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    int bytes = snprintf(text, sizeof text,
                         "{\"rows\": %" PRIu64 ", \"ok\": %" PRIu64 ", \"null\": %" PRIu64 ", \"error\": %" PRIu64
                         ", \"time\": \"%s\"}\n",
                         counts.ok + counts.null + counts.failed, counts.ok, counts.null, counts.failed, time_text);
    tn_status status = whole_file_begin_path(&whole, output->success, err);
    if (status != TN_OK)
        return status;
    status = whole_file_write(&whole, text, (uint64_t)bytes, err);
    if (status == TN_OK)
        return whole_file_end(&whole, err);
    whole_file_abandon(&whole);
    return status;
}
