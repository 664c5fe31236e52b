/* tests/unit/fake_source.h: a tn_source in memory, for tests of what reads checkpoints.
 *
 * Fill `entries` and `tensors` (both end at the first NULL name), then call fake_source_view.
 */
#ifndef TESTS_FAKE_SOURCE_H
#define TESTS_FAKE_SOURCE_H

#include "tenon/source.h"

#include <string.h>

enum { FAKE_ENTRIES_MAX = 64, FAKE_TENSORS_MAX = 64 };

typedef struct fake_entry {
    const char *key;
    tn_meta meta;
} fake_entry;

typedef struct fake_source {
    tn_source source;
    fake_entry entries[FAKE_ENTRIES_MAX];
    tn_tensor_src tensors[FAKE_TENSORS_MAX];
} fake_source;

static inline tn_meta fake_uint(uint64_t value)
{
    return (tn_meta){.struct_size = sizeof(tn_meta), .kind = TN_META_UINT, .count = 1, .u = value};
}

static inline tn_meta fake_int(int64_t value)
{
    return (tn_meta){.struct_size = sizeof(tn_meta), .kind = TN_META_INT, .count = 1, .i = value};
}

static inline tn_meta fake_float(double value)
{
    return (tn_meta){.struct_size = sizeof(tn_meta), .kind = TN_META_FLOAT, .count = 1, .f = value};
}

static inline tn_meta fake_string(const char *text)
{
    return (tn_meta){.struct_size = sizeof(tn_meta), .kind = TN_META_STRING, .count = strlen(text), .string = text};
}

/* Sets or replaces a key. */
static inline void fake_set(fake_source *fake, const char *key, tn_meta meta)
{
    size_t i = 0;
    while (fake->entries[i].key && strcmp(fake->entries[i].key, key) != 0)
        i++;
    TN_ASSERT(i + 1 < FAKE_ENTRIES_MAX);
    fake->entries[i] = (fake_entry){key, meta};
}

/* Makes a key absent. */
static inline void fake_unset(fake_source *fake, const char *key)
{
    for (size_t i = 0; fake->entries[i].key; i++) {
        if (strcmp(fake->entries[i].key, key) == 0)
            fake->entries[i].key = "";
    }
}

static inline void fake_add_tensor(fake_source *fake, const char *name, uint32_t dtype, int64_t rows, int64_t columns,
                                   const void *data, uint64_t bytes)
{
    size_t i = 0;
    while (fake->tensors[i].name)
        i++;
    TN_ASSERT(i + 1 < FAKE_TENSORS_MAX);
    fake->tensors[i] = (tn_tensor_src){.struct_size = sizeof(tn_tensor_src),
                                       .dtype = dtype,
                                       .rank = rows > 1 ? 2 : 1,
                                       .dim = {rows > 1 ? rows : columns, rows > 1 ? columns : 1, 1, 1},
                                       .name = name,
                                       .data = data,
                                       .bytes = bytes};
}

static inline tn_status fake_tensor(const tn_source *source, const char *name, tn_tensor_src *ret_tensor)
{
    const fake_source *fake = source->ctx;
    for (size_t i = 0; fake->tensors[i].name; i++) {
        if (strcmp(fake->tensors[i].name, name) == 0) {
            *ret_tensor = fake->tensors[i];
            return TN_OK;
        }
    }
    return TN_E_NOT_FOUND;
}

static inline tn_status fake_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    const fake_source *fake = source->ctx;
    for (size_t i = 0; fake->entries[i].key; i++) {
        if (strcmp(fake->entries[i].key, key) == 0) {
            *ret_meta = fake->entries[i].meta;
            return TN_OK;
        }
    }
    return TN_E_NOT_FOUND;
}

/* Call after the fake has its final address. */
static inline const tn_source *fake_source_view(fake_source *fake, const char *container)
{
    fake->source = (tn_source){.struct_size = sizeof(tn_source),
                               .ctx = fake,
                               .container = container,
                               .path = "fake.file",
                               .tensor = fake_tensor,
                               .meta = fake_meta};
    return &fake->source;
}

#endif
