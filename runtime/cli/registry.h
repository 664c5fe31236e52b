/* runtime/cli/registry.h: what the sub-commands of `tenon registry` share. */
#ifndef CLI_REGISTRY_H
#define CLI_REGISTRY_H

#include "cli/command.h"
#include "registry/registry.h"

/* Opens the registry that the settings name. False: printed why. */
bool open_registry(const args *args, bool create, registry **ret_registry);

/* Names and notes of a version to be, as flags. */
typedef struct version_flags {
    const char *version, *alias, *task, *comment;
    string_list tags, metrics;
    registry_pair tag_pairs[STRINGS_MAX], metric_pairs[STRINGS_MAX];
    char *owned[2 * STRINGS_MAX];
    uint32_t owned_count;
} version_flags;
#define VERSION_FLAGS(v)                                                                              \
    {"version", "V", FLAG_STRING, &(v).version, NULL, "its name (default: the next of v1, v2, ...)"}, \
        {"alias", "A", FLAG_STRING, &(v).alias, NULL, "let this alias point to it"},                  \
        {"task", "TASK", FLAG_STRING, &(v).task, NULL, "what it is for, such as text-generation"},    \
        {"comment", "TEXT", FLAG_STRING, &(v).comment, NULL, "a note"},                               \
        {"tag", "KEY=VALUE", FLAG_STRINGS, &(v).tags, NULL, "a tag; may be repeated"},                \
    {                                                                                                 \
        "metric", "KEY=NUMBER", FLAG_STRINGS, &(v).metrics, NULL, "a metric; may be repeated"         \
    }

/* The registration of a model. Borrowed from the flags until version_flags_finish. False: printed why, wrong usage. */
bool version_flags_read(const command *command, version_flags *flags, const char *model,
                        registration *ret_registration);
void version_flags_finish(version_flags *flags);

#define CHOICE_FLAGS(include, exclude)                                                             \
    {"include",  "PATTERN", FLAG_STRINGS,                                                          \
     &(include), NULL,      "only files whose name matches, such as '*Q4_K_M*'; may be repeated"}, \
    {                                                                                              \
        "exclude", "PATTERN", FLAG_STRINGS, &(exclude), NULL,                                      \
            "no files whose name matches, such as '*.bin'; may be repeated"                        \
    }
file_choice choice_of(const string_list *include, const string_list *exclude);

/* "NAME@VERSION  sha256:DIGEST  SIZE", what was added. */
void print_registered(const registered *version, bool json);
/* Prints a JSON value and a newline. */
void print_json(const json_t *json);

#endif
