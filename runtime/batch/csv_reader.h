/* runtime/batch/csv_reader.h: records of comma-separated values: RFC 4180, with line ends of either kind. */
#ifndef BATCH_CSV_READER_H
#define BATCH_CSV_READER_H

#include "batch/text_line.h"

enum { CSV_FIELDS_MAX = 256, CSV_RECORD_BYTES_MAX = 16 << 20 };

typedef struct csv_record {
    text_line text;               /* the fields, each with a NUL behind it */
    size_t begin[CSV_FIELDS_MAX]; /* in text */
    uint32_t field_count;
    uint64_t line;      /* of the file, where the record begins; from 1 */
    uint64_t next_line; /* where the next one does; 0 before the first */
} csv_record;

/* Reads one record; lines that are empty are passed over. *ret_any: false at the end of the file. What was read before
 * is forgotten. Errors: TN_E_ARGUMENT names the line: a quote that is not closed, or has text before or behind it, a
 * zero byte, no UTF-8, too many fields or bytes; TN_E_IO, TN_E_MEMORY. */
tn_status csv_read(FILE *file, csv_record *record, bool *ret_any, tn_error *err);
const char *csv_field(const csv_record *record, uint32_t index);
void csv_record_finish(csv_record *record);
/* One field, quoted where it has to be. */
void csv_write_field(FILE *file, const char *text);

#endif
