/* runtime/batch/csv_reader.c: see csv_reader.h. */
#include "batch/csv_reader.h"

#include "base/utf8.h"

#include <errno.h>
#include <string.h>

static tn_status refuse(const csv_record *record, const char *what, tn_error *err)
{
    return tn_fail(err, TN_E_ARGUMENT, "line %llu: %s", (unsigned long long)record->line, what);
}

static tn_status push(csv_record *record, int byte, tn_error *err)
{
    if (text_line_push(&record->text, byte, CSV_RECORD_BYTES_MAX))
        return TN_OK;
    return refuse(record, "a record holds more than 16 MiB (is a quote missing?)", err);
}

static int next_byte(FILE *file, csv_record *record)
{
    int byte = getc_unlocked(file);

    record->next_line += byte == '\n';
    return byte;
}

/* What stands in quotes, the first of which has been read, is copied; *ret_next is the byte behind the last. */
static tn_status read_quoted(FILE *file, csv_record *record, int *ret_next, tn_error *err)
{
    for (;;) {
        int byte = next_byte(file, record);
        if (byte == EOF)
            return refuse(record, "a quote that begins in this record is not closed", err);
        if (byte == '\0')
            return refuse(record, "a field holds a zero byte", err);
        if (byte == '"') {
            byte = next_byte(file, record);
            if (byte != '"') {
                *ret_next = byte;
                return TN_OK;
            }
        }
        tn_status status = push(record, byte, err);
        if (status != TN_OK)
            return status;
    }
}

static tn_status read_plain(FILE *file, csv_record *record, int byte, int *ret_next, tn_error *err)
{
    for (; byte != ',' && byte != '\n' && byte != '\r' && byte != EOF; byte = next_byte(file, record)) {
        if (byte == '\0')
            return refuse(record, "a field holds a zero byte", err);
        if (byte == '"')
            return refuse(record, "a quote stands in the middle of a field; quote the whole field and double the quote",
                          err);
        tn_status status = push(record, byte, err);
        if (status != TN_OK)
            return status;
    }
    *ret_next = byte;
    return TN_OK;
}

/* One field from its first byte on; *ret_next: ',', '\n' or EOF. */
static tn_status read_field(FILE *file, csv_record *record, int first, int *ret_next, tn_error *err)
{
    if (record->field_count == CSV_FIELDS_MAX)
        return refuse(record, "a record has more than 256 fields", err);
    record->begin[record->field_count++] = record->text.count;
    tn_status status =
        first == '"' ? read_quoted(file, record, ret_next, err) : read_plain(file, record, first, ret_next, err);
    if (status != TN_OK)
        return status;
    if (*ret_next == '\r') {
        *ret_next = next_byte(file, record);
        if (*ret_next != '\n' && *ret_next != EOF)
            return refuse(record, "a carriage return stands alone; quote the field", err);
    }
    if (*ret_next != ',' && *ret_next != '\n' && *ret_next != EOF)
        return refuse(record, "text stands behind the closing quote of a field", err);
    return push(record, '\0', err);
}

static void skip_byte_order_mark(FILE *file)
{
    if (getc_unlocked(file) != 0xEF || getc_unlocked(file) != 0xBB || getc_unlocked(file) != 0xBF)
        rewind(file);
}

tn_status csv_read(FILE *file, csv_record *record, bool *ret_any, tn_error *err)
{
    int byte;

    if (record->next_line == 0) {
        record->next_line = 1;
        skip_byte_order_mark(file);
    }
    record->field_count = 0;
    record->text.count = 0;
    errno = 0;
    for (byte = '\n'; byte == '\n';) {
        record->line = record->next_line;
        byte = next_byte(file, record);
        if (byte != '\r')
            continue;
        byte = next_byte(file, record);
        if (byte != '\n' && byte != EOF)
            return refuse(record, "a carriage return stands alone; quote the field", err);
    }
    *ret_any = byte != EOF;
    while (*ret_any) {
        tn_status status = read_field(file, record, byte, &byte, err);
        if (status != TN_OK)
            return status;
        if (byte != ',')
            break;
        byte = next_byte(file, record);
    }
    if (ferror(file))
        return tn_fail(err, TN_E_IO, "%s", strerror(errno));
    return !*ret_any || utf8_is_valid(record->text.bytes, record->text.count)
               ? TN_OK
               : refuse(record, "the record is not valid UTF-8", err);
}

const char *csv_field(const csv_record *record, uint32_t index)
{
    TN_ASSERT(index < record->field_count);
    return record->text.bytes + record->begin[index];
}

void csv_record_finish(csv_record *record)
{
    text_line_finish(&record->text);
}

void csv_write_field(FILE *file, const char *text)
{
    if (!strpbrk(text, "\",\r\n") && *text) {
        fputs(text, file);
        return;
    }
    putc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', file);
        putc(*text, file);
    }
    putc('"', file);
}
