/* runtime/batch/place_name.h: what the name of an input or an output says of its kind. */
#ifndef BATCH_PLACE_NAME_H
#define BATCH_PLACE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* NULL: it does not begin with "sqlite:"; else what comes behind. */
static inline const char *place_name_database(const char *name)
{
    static const char scheme[] = "sqlite:";
    return strncmp(name, scheme, sizeof scheme - 1) == 0 ? name + sizeof scheme - 1 : NULL;
}

static inline bool place_name_ends(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

static inline bool place_name_is_json_lines(const char *name)
{
    return place_name_ends(name, ".jsonl") || place_name_ends(name, ".ndjson");
}

static inline bool place_name_is_csv(const char *name)
{
    return place_name_ends(name, ".csv");
}

#endif
