/* runtime/model/config_reader.h: typed, range-checked reads of configuration values, whatever they are stored in.
 *
 * A lookup turns a key into a tn_meta (GGUF metadata already is one; config.json is converted). The first failure
 * sticks: later reads do nothing, so that a reader of twenty keys checks `status` once. Messages are "path: prefix+key:
 * what".
 */
#ifndef MODEL_CONFIG_READER_H
#define MODEL_CONFIG_READER_H

#include "tenon/source.h"

#include <stdbool.h>

typedef struct config_reader config_reader;
struct config_reader {
    const char *path;   /* for messages */
    const char *prefix; /* prepended to every key: "llama.", "config.json " */
    const void *ctx;    /* the lookup's */
    /* TN_E_NOT_FOUND when there is no such key, or its value is null. */
    tn_status (*lookup)(const config_reader *reader, const char *key, tn_meta *ret_meta);
    /* Element `index` of the array under key. */
    tn_status (*element)(const config_reader *reader, const char *key, uint64_t index, tn_meta *ret_meta);
    tn_status status;
    tn_error *err;
};

/* Whole numbers in [min, max]; fallback 0: the key is required. */
void config_count(config_reader *reader, const char *key, uint32_t min, uint32_t max, uint32_t fallback,
                  uint32_t *ret_count);
/* Finite numbers in [min, max]; fallback NAN: the key is required. */
void config_real(config_reader *reader, const char *key, double min, double max, double fallback, float *ret_real);
void config_flag(config_reader *reader, const char *key, bool fallback, bool *ret_flag);
/* Copies a string into text[size], at most size - 1 bytes; fallback NULL: the key is required. */
void config_text(config_reader *reader, const char *key, const char *fallback, char *text, size_t size);
/* True if the key has a value. */
bool config_has(const config_reader *reader, const char *key);
/* Elements of an array; 0 if there is no such key; a value that is no array fails the reader. At most UINT32_MAX - 1.
 */
uint32_t config_length(config_reader *reader, const char *key);
/* Element `index` of an array: a whole number in [0, max] (true is 1), a finite number in [min, max], a string. 0 or ""
 * once the reader has failed. */
uint32_t config_count_at(config_reader *reader, const char *key, uint32_t index, uint32_t max);
float config_real_at(config_reader *reader, const char *key, uint32_t index, double min, double max);
void config_text_at(config_reader *reader, const char *key, uint32_t index, char *text, size_t size);
/* Fails the reader unless it has failed before. */
void config_refuse(config_reader *reader, tn_status status, const char *key, const char *format, ...) TN_PRINTF(4, 5);

#endif
