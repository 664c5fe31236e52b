/* config_reader.c: see config_reader.h. Values come from untrusted files: nothing is cast before its range is known. */
#include "model/config_reader.h"

#include <math.h>
#include <string.h>

void config_refuse(config_reader *reader, tn_status status, const char *key, const char *format, ...)
{
    char what[256];
    va_list args;

    if (reader->status != TN_OK)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    reader->status = tn_fail(reader->err, status, "%s: %s%s: %s", reader->path, reader->prefix, key, what);
}

/* True if the key has a value; a missing required key fails the reader. */
static bool find(config_reader *reader, const char *key, bool required, tn_meta *ret_meta)
{
    if (reader->status != TN_OK)
        return false;
    *ret_meta = (tn_meta){.struct_size = sizeof(tn_meta)};
    tn_status status = reader->lookup(reader, key, ret_meta);
    if (status == TN_OK)
        return true;
    if (status != TN_E_NOT_FOUND)
        config_refuse(reader, status, key, "cannot be read (%s)", tn_status_text(status));
    else if (required)
        config_refuse(reader, TN_E_CORRUPT, key, "missing, but this architecture needs it");
    return false;
}

/* Any numeric value as a double, exact up to 2^53, which is far beyond every limit here. */
static bool number(const tn_meta *meta, double *ret)
{
    switch (meta->kind) {
    case TN_META_UINT:
        *ret = (double)meta->u;
        return true;
    case TN_META_INT:
        *ret = (double)meta->i;
        return true;
    case TN_META_FLOAT:
        *ret = meta->f;
        return true;
    default:
        return false;
    }
}

/* Whole, and within the range; key is only for messages. */
static bool whole_number(config_reader *reader, const char *key, const tn_meta *meta, uint32_t min, uint32_t max,
                         uint32_t *ret_count)
{
    double value;

    if (!number(meta, &value) || value != floor(value)) {
        config_refuse(reader, TN_E_CORRUPT, key, "must be a whole number");
        return false;
    }
    if (!(value >= min && value <= max)) {
        config_refuse(reader, TN_E_CORRUPT, key, "is %.17g, must be within %u to %u", value, min, max);
        return false;
    }
    *ret_count = (uint32_t)value;
    return true;
}

static bool real_number(config_reader *reader, const char *key, const tn_meta *meta, double min, double max,
                        float *ret_real)
{
    double value;

    if (!number(meta, &value)) {
        config_refuse(reader, TN_E_CORRUPT, key, "must be a number");
        return false;
    }
    if (!(value >= min && value <= max)) { /* NaN too */
        config_refuse(reader, TN_E_CORRUPT, key, "is %g, must be within %g to %g", value, min, max);
        return false;
    }
    *ret_real = (float)value;
    return true;
}

static void copy_text(config_reader *reader, const char *key, const tn_meta *meta, char *text, size_t size)
{
    if (meta->kind != TN_META_STRING || memchr(meta->string, 0, meta->count)) {
        config_refuse(reader, TN_E_CORRUPT, key, "must be a string");
        return;
    }
    if (meta->count >= size) {
        config_refuse(reader, TN_E_CORRUPT, key, "is %llu bytes long, at most %zu make sense",
                      (unsigned long long)meta->count, size - 1);
        return;
    }
    memcpy(text, meta->string, meta->count);
    text[meta->count] = 0;
}

void config_count(config_reader *reader, const char *key, uint32_t min, uint32_t max, uint32_t fallback,
                  uint32_t *ret_count)
{
    tn_meta meta;

    if (find(reader, key, fallback == 0, &meta))
        whole_number(reader, key, &meta, min, max, ret_count);
    else if (reader->status == TN_OK)
        *ret_count = fallback;
}

void config_real(config_reader *reader, const char *key, double min, double max, double fallback, float *ret_real)
{
    tn_meta meta;

    if (find(reader, key, isnan(fallback), &meta))
        real_number(reader, key, &meta, min, max, ret_real);
    else if (reader->status == TN_OK)
        *ret_real = (float)fallback;
}

void config_flag(config_reader *reader, const char *key, bool fallback, bool *ret_flag)
{
    tn_meta meta;

    if (!find(reader, key, false, &meta)) {
        if (reader->status == TN_OK)
            *ret_flag = fallback;
        return;
    }
    if (meta.kind != TN_META_BOOL) {
        config_refuse(reader, TN_E_CORRUPT, key, "must be true or false");
        return;
    }
    *ret_flag = meta.u != 0;
}

void config_text(config_reader *reader, const char *key, const char *fallback, char *text, size_t size)
{
    tn_meta meta;

    if (find(reader, key, !fallback, &meta))
        copy_text(reader, key, &meta, text, size);
    else if (reader->status == TN_OK)
        snprintf(text, size, "%s", fallback);
}

bool config_has(const config_reader *reader, const char *key)
{
    tn_meta meta = {.struct_size = sizeof meta};
    return reader->lookup(reader, key, &meta) == TN_OK;
}

uint32_t config_length(config_reader *reader, const char *key)
{
    tn_meta meta;

    if (!find(reader, key, false, &meta))
        return 0;
    if (meta.kind != TN_META_ARRAY) {
        config_refuse(reader, TN_E_CORRUPT, key, "must be an array");
        return 0;
    }
    return meta.count < UINT32_MAX ? (uint32_t)meta.count : UINT32_MAX - 1;
}

/* Element `index`; its name for messages goes into `name`. */
static bool find_at(config_reader *reader, const char *key, uint32_t index, char name[96], tn_meta *ret_meta)
{
    if (reader->status != TN_OK)
        return false;
    snprintf(name, 96, "%s[%u]", key, index);
    *ret_meta = (tn_meta){.struct_size = sizeof(tn_meta)};
    tn_status status = reader->element(reader, key, index, ret_meta);
    if (status != TN_OK)
        config_refuse(reader, TN_E_CORRUPT, name, "cannot be read (%s)", tn_status_text(status));
    return status == TN_OK;
}

uint32_t config_count_at(config_reader *reader, const char *key, uint32_t index, uint32_t max)
{
    char name[96];
    tn_meta meta;
    uint32_t count = 0;

    if (!find_at(reader, key, index, name, &meta))
        return 0;
    if (meta.kind == TN_META_BOOL)
        meta.kind = TN_META_UINT;
    return whole_number(reader, name, &meta, 0, max, &count) ? count : 0;
}

float config_real_at(config_reader *reader, const char *key, uint32_t index, double min, double max)
{
    char name[96];
    tn_meta meta;
    float real = 0.0f;

    if (!find_at(reader, key, index, name, &meta))
        return 0.0f;
    return real_number(reader, name, &meta, min, max, &real) ? real : 0.0f;
}

void config_text_at(config_reader *reader, const char *key, uint32_t index, char *text, size_t size)
{
    char name[96];
    tn_meta meta;

    text[0] = 0;
    if (find_at(reader, key, index, name, &meta))
        copy_text(reader, name, &meta, text, size);
}
