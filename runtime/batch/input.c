/* runtime/batch/input.c: see input.h. */
#include "batch/input.h"

#include "batch/place_name.h"

#include <errno.h>
#include <string.h>

const char *input_place_noun(const batch_input *input)
{
    return input->kind == INPUT_SQLITE ? "row" : "line";
}

/* ---- columns ---- */

static const char *column_name(const batch_input *input, uint32_t index)
{
    const char *name =
        input->kind == INPUT_CSV ? csv_field(&input->record, index) : sqlite3_column_name(input->query, (int)index);
    return name ? name : "";
}

static int find_column(const batch_input *input, const char *name)
{
    for (uint32_t i = 0; i < input->column_count; i++)
        if (strcmp(column_name(input, i), name) == 0)
            return (int)i;
    return -1;
}

static tn_status find_columns(batch_input *input, tn_error *err)
{
    const char *key = input->names.key ? input->names.key : "key";
    const char *prompt = input->names.prompt ? input->names.prompt : "prompt";

    input->key_column = find_column(input, key);
    input->prompt_column = find_column(input, prompt);
    input->params_column = find_column(input, "params");
    if (input->prompt_column < 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.200s: there is no column '%.100s'; --prompt names the one with the prompts", input->name,
                       prompt);
    if (input->key_column < 0 && input->names.key)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: there is no column '%.100s', which --key names", input->name, key);
    return TN_OK;
}

/* ---- opening ---- */

static tn_status open_file(batch_input *input, tn_error *err)
{
    input->file = fopen(input->name, "re");
    return input->file ? TN_OK : tn_fail(err, TN_E_IO, "%.300s: %s", input->name, strerror(errno));
}

static tn_status refuse_database(const batch_input *input, tn_error *err)
{
    return tn_fail(err, sqlite3_errcode(input->db) == SQLITE_NOMEM ? TN_E_MEMORY : TN_E_IO, "%.200s: %s", input->name,
                   input->db ? sqlite3_errmsg(input->db) : "out of memory");
}

static tn_status prepare(batch_input *input, const char *path, const char *query, tn_error *err)
{
    const char *rest = NULL;

    if (sqlite3_open_v2(path, &input->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return refuse_database(input, err);
    sqlite3_busy_timeout(input->db, 10000);
    /* One transaction, so that the rows are the same each time they are read. */
    if (sqlite3_exec(input->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(input->db, query, -1, &input->query, &rest) != SQLITE_OK)
        return refuse_database(input, err);
    if (!input->query || rest[strspn(rest, " \t\r\n;")] != '\0')
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the query must be one statement", input->name);
    if (!sqlite3_stmt_readonly(input->query) || sqlite3_column_count(input->query) == 0)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the query must read rows, and write nothing", input->name);
    input->column_count = (uint32_t)sqlite3_column_count(input->query);
    return find_columns(input, err);
}

static tn_status open_database(batch_input *input, tn_error *err)
{
    const char *path = place_name_database(input->name), *mark = strchr(path, '?');

    if (!mark || mark == path || mark[1] == '\0')
        return tn_fail(err, TN_E_ARGUMENT, "%.300s: write sqlite:DATABASE?QUERY", input->name);
    char *database = strndup(path, (size_t)(mark - path));
    if (!database)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the input's name");
    tn_status status = prepare(input, database, mark + 1, err);
    free(database);
    return status;
}

static tn_status at_line(const batch_input *input, tn_status status, tn_error *err)
{
    char message[sizeof err->msg];

    if (status == TN_OK || !err)
        return status;
    snprintf(message, sizeof message, "%s", err->msg);
    return tn_fail(err, status, "%.200s: %s", input->name, message);
}

static tn_status read_header(batch_input *input, tn_error *err)
{
    bool any = false;
    tn_status status = at_line(input, csv_read(input->file, &input->record, &any, err), err);

    if (status != TN_OK)
        return status;
    if (!any)
        return tn_fail(err, TN_E_ARGUMENT, "%.300s: the first line must name the columns, and there is none",
                       input->name);
    input->column_count = input->record.field_count;
    return find_columns(input, err);
}

tn_status input_open(const char *name, const row_form *form, const input_columns *columns, batch_input *ret_input,
                     tn_error *err)
{
    batch_input input = {.name = name, .form = *form, .names = *columns};
    bool database = place_name_database(name), json = !database && place_name_is_json_lines(name);
    bool csv = !database && place_name_is_csv(name);

    if (!json && !csv && !database)
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.300s: an input is NAME.jsonl, NAME.ndjson, NAME.csv or sqlite:DATABASE?QUERY", name);
    if (json && (columns->key || columns->prompt))
        return tn_fail(err, TN_E_ARGUMENT, "%.300s: --key and --prompt name columns, and JSON lines have none", name);
    input.kind = database ? INPUT_SQLITE : csv ? INPUT_CSV : INPUT_JSONL;
    tn_status status = database ? open_database(&input, err) : open_file(&input, err);
    if (status == TN_OK && input.kind == INPUT_CSV)
        status = read_header(&input, err);
    if (status != TN_OK) {
        input_close(&input);
        return status;
    }
    *ret_input = input;
    return TN_OK;
}

tn_status input_rewind(batch_input *input, tn_error *err)
{
    input->rows = input->line = 0;
    if (input->kind == INPUT_SQLITE)
        return sqlite3_reset(input->query) == SQLITE_OK ? TN_OK : refuse_database(input, err);
    if (fseeko(input->file, 0, SEEK_SET) != 0)
        return tn_fail(err, TN_E_IO, "%.300s: %s; an input must be a file that can be read twice", input->name,
                       strerror(errno));
    input->record.next_line = 0;
    return input->kind == INPUT_CSV ? read_header(input, err) : TN_OK;
}

void input_close(batch_input *input)
{
    if (input->file)
        fclose(input->file);
    sqlite3_finalize(input->query);
    sqlite3_close(input->db);
    csv_record_finish(&input->record);
    text_line_finish(&input->text);
    *input = (batch_input){.file = NULL};
}

/* ---- rows ---- */

static tn_status read_json(batch_input *input, batch_row *ret_row, bool *ret_any, tn_error *err)
{
    bool whole;

    do {
        input->line++;
        tn_status status = text_line_read(input->file, ROW_BYTES_MAX, &input->text, ret_any, &whole, err);
        if (status != TN_OK || !*ret_any)
            return status;
    } while (input->text.bytes[strspn(input->text.bytes, " \t\r")] == '\0' &&
             strlen(input->text.bytes) == input->text.count);
    return row_from_json(&input->form, input->line, input->text.bytes, input->text.count, ret_row, err);
}

/* The row of a table; texts are borrowed. */
static tn_status make_row(const batch_input *input, uint64_t place, const char *key, const char *prompt,
                          const char *params, batch_row *ret_row, tn_error *err)
{
    json_error_t fault;
    json_t *fields = params && *params ? json_loads(params, JSON_REJECT_DUPLICATES, &fault) : NULL;

    if (params && *params && !json_is_object(fields)) {
        json_decref(fields);
        return tn_fail(err, TN_E_ARGUMENT, "the params are not a JSON object: %.200s",
                       fields ? "another value" : fault.text);
    }
    if (input->key_column >= 0 && !key) {
        json_decref(fields);
        return tn_fail(err, TN_E_ARGUMENT, "the key is NULL");
    }
    tn_status status = row_from_prompt(&input->form, place, key, prompt, fields, ret_row, err);
    json_decref(fields);
    return status;
}

static const char *field_at(const csv_record *record, int column)
{
    return column < 0 ? NULL : csv_field(record, (uint32_t)column);
}

static tn_status read_csv(batch_input *input, batch_row *ret_row, bool *ret_any, tn_error *err)
{
    const csv_record *record = &input->record;
    tn_status status = csv_read(input->file, &input->record, ret_any, err);

    if (status != TN_OK || !*ret_any)
        return status;
    input->line = record->line;
    if (record->field_count != input->column_count)
        return tn_fail(err, TN_E_ARGUMENT, "there are %u fields under %u names", record->field_count,
                       input->column_count);
    const char *key = field_at(record, input->key_column);
    status = make_row(input, key ? record->line : input->rows + 1, key, field_at(record, input->prompt_column),
                      field_at(record, input->params_column), ret_row, err);
    if (status == TN_OK)
        ret_row->place = record->line;
    return status;
}

/* *ret_text: borrowed; NULL is SQL's NULL or no such column. */
static tn_status column_text(const batch_input *input, int column, const char **ret_text, tn_error *err)
{
    *ret_text = NULL;
    if (column < 0 || sqlite3_column_type(input->query, column) == SQLITE_NULL)
        return TN_OK;
    const char *text = (const char *)sqlite3_column_text(input->query, column);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a row");
    if (strlen(text) != (size_t)sqlite3_column_bytes(input->query, column))
        return tn_fail(err, TN_E_ARGUMENT, "the column '%.100s' holds a zero byte",
                       sqlite3_column_name(input->query, column));
    *ret_text = text;
    return TN_OK;
}

static tn_status read_database(batch_input *input, batch_row *ret_row, bool *ret_any, tn_error *err)
{
    const char *key, *prompt, *params;
    int code = sqlite3_step(input->query);

    *ret_any = code == SQLITE_ROW;
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? TN_OK : tn_fail(err, TN_E_IO, "%s", sqlite3_errmsg(input->db));
    tn_status status = column_text(input, input->key_column, &key, err);
    if (status == TN_OK)
        status = column_text(input, input->prompt_column, &prompt, err);
    if (status == TN_OK)
        status = column_text(input, input->params_column, &params, err);
    return status == TN_OK ? make_row(input, input->rows + 1, key, prompt, params, ret_row, err) : status;
}

tn_status input_read(batch_input *input, batch_row *ret_row, bool *ret_any, tn_error *err)
{
    static tn_status (*const readers[])(batch_input *, batch_row *, bool *, tn_error *) = {
        [INPUT_JSONL] = read_json, [INPUT_CSV] = read_csv, [INPUT_SQLITE] = read_database};
    char message[sizeof err->msg];
    tn_error fault = TN_ERROR_INIT;
    tn_status status = readers[input->kind](input, ret_row, ret_any, &fault);

    if (status == TN_OK) {
        input->rows += *ret_any;
        return TN_OK;
    }
    snprintf(message, sizeof message, "%s", fault.msg);
    if (strncmp(message, "line ", 5) == 0) /* CSV says where by itself */
        return tn_fail(err, status, "%.200s: %s", input->name, message);
    return tn_fail(err, status, "%.200s: %s %llu: %s", input->name, input_place_noun(input),
                   (unsigned long long)(input->kind == INPUT_SQLITE ? input->rows + 1 : input->line), message);
}
