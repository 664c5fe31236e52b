/* runtime/batch/output_table.h: answers as a table of SQLite. */
#ifndef BATCH_OUTPUT_TABLE_H
#define BATCH_OUTPUT_TABLE_H

#include "batch/output.h"

/* The columns of an answer, in their order; those from COLUMN_NUMBERS on are integers. */
enum { OUTPUT_COLUMNS = 10, COLUMN_NUMBERS = 6 };
extern const char *const output_columns[OUTPUT_COLUMNS];

tn_status output_table_exists(const batch_output *output, bool *ret_exists, tn_error *err);
tn_status output_table_write(const batch_output *output, job_log *log, tn_error *err);

#endif
