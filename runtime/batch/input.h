/* runtime/batch/input.h: the rows of a batch, read one after the other: JSON lines, CSV, or a query over SQLite.
 *
 * NAME.jsonl or NAME.ndjson: a JSON object per line, empty lines are passed over. NAME.csv: a record per row under a
 * line of names. sqlite:DATABASE?QUERY: a row per row, the database opened for reading only. Of CSV and SQLite the
 * columns "key" (or as named), "prompt" (or as named) and "params" are read; without a column "key", the row's number
 * is the key.
 */
#ifndef BATCH_INPUT_H
#define BATCH_INPUT_H

#include "batch/csv_reader.h"
#include "batch/row.h"

#include <sqlite3.h>

typedef enum input_kind { INPUT_JSONL, INPUT_CSV, INPUT_SQLITE } input_kind;

typedef struct input_columns {
    const char *key, *prompt; /* NULL: "key" if there is one, and "prompt" */
} input_columns;

typedef struct batch_input {
    input_kind kind;
    const char *name; /* borrowed until close */
    row_form form;    /* with texts borrowed until close */
    input_columns names;
    uint64_t rows;                                /* that were read */
    uint64_t line;                                /* of JSON lines */
    int key_column, prompt_column, params_column; /* -1: none */
    uint32_t column_count;
    FILE *file;
    csv_record record;
    text_line text;
    sqlite3 *db;
    sqlite3_stmt *query;
} batch_input;

/* Errors: TN_E_ARGUMENT (no such kind of input, no such column, a statement that would write), TN_E_IO. */
tn_status input_open(const char *name, const row_form *form, const input_columns *columns, batch_input *ret_input,
                     tn_error *err);
/* *ret_any: false behind the last row. Errors name the input, and the line or the row. */
tn_status input_read(batch_input *input, batch_row *ret_row, bool *ret_any, tn_error *err);
/* Back to before the first row; of a database, in the state that it was opened in. */
tn_status input_rewind(batch_input *input, tn_error *err);
/* "line" or "row": what places count. */
const char *input_place_noun(const batch_input *input);
void input_close(batch_input *input); /* half-open ones too */

#endif
