/* runtime/registry/registry.h: named, versioned models in a content-addressed store.
 *
 * A version is an immutable manifest and the files it lists; names, aliases, tags, metrics and comments live in the
 * index. Any number of processes may use one registry at once. A handle belongs to one thread. JSON results are owned
 * by the caller. Errors: TN_E_NOT_FOUND no such model, TN_E_ARGUMENT a request that cannot be, TN_E_CORRUPT damage or
 * hostile input, TN_E_IO the disk (which may be full), TN_E_AGAIN somebody else holds it.
 */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include "registry/digest.h"
#include "registry/name_rule.h"

#include "model/weights.h"

#include <jansson.h>
#include <limits.h>

typedef struct registry registry;

/* The folder: the setting registry.path, else `registry` in TENON_HOME, else .local/share/tenon/registry in HOME. */
tn_status registry_root(const char *setting, char ret_root[PATH_MAX], tn_error *err);
/* create: makes what is missing; else TN_E_NOT_FOUND when there is no registry. */
tn_status registry_open(const char *root, bool create, registry **ret_registry, tn_error *err);
void registry_close(registry *registry); /* NULL is fine */

/* ---- finding ---- */

typedef struct registered {
    char model[NAME_BYTES_MAX + 1], version[NAME_BYTES_MAX + 1];
    digest digest;
    uint64_t bytes;
} registered;

tn_status registry_find(registry *registry, const char *reference, registered *ret_registered, tn_error *err);
/* What the loader opens for a reference (without "registry:"): a file or a directory. One call, from anywhere. */
tn_status registry_resolve(const char *root, const char *reference, char ret_path[PATH_MAX], registered *ret_registered,
                           tn_error *err);
/* {"models": [{"name", "default", "versions": [...]}]}, of one model if it is not NULL. */
tn_status registry_list(registry *registry, const char *model, json_t **ret_list, tn_error *err);
/* A version with its manifest. */
tn_status registry_show(registry *registry, const char *reference, json_t **ret_version, tn_error *err);

/* ---- adding ---- */

typedef struct registry_pair {
    const char *key, *text;
    double number;
} registry_pair;

typedef struct registration {
    const char *model;
    const char *version;                /* NULL: the next of v1, v2, ... */
    const char *alias, *task, *comment; /* or NULL */
    const registry_pair *tags, *metrics;
    uint32_t tag_count, metric_count;
} registration;

/* Which files of a directory or repository: shell patterns over their names. None included: all are. */
typedef struct file_choice {
    const char *const *include, *const *exclude;
    uint32_t include_count, exclude_count;
} file_choice;

bool file_choice_has(const file_choice *choice, const char *name);

/* Logs a GGUF file, a directory, or a Hugging Face cache entry (models--ORG--NAME or one of its snapshots; revision: a
 * name in its refs or a commit, NULL for "main", or for the only one). progress may be NULL. */
tn_status registry_log(registry *registry, const char *path, const char *revision, const file_choice *choice,
                       const registration *registration, const weights_progress *progress, registered *ret_registered,
                       tn_error *err);
tn_status registry_copy(registry *registry, const char *reference, const registration *to, registered *ret_registered,
                        tn_error *err);

/* ---- changing ---- */

tn_status registry_set_alias(registry *registry, const char *reference, const char *alias, tn_error *err);
tn_status registry_unset_alias(registry *registry, const char *model, const char *alias, tn_error *err);
/* The version that the bare name of its model means. Without one it is the last that was logged. */
tn_status registry_set_default(registry *registry, const char *reference, tn_error *err);
/* Removes a version, or all of them if reference is a bare name. TN_E_AGAIN: a service uses it. */
tn_status registry_remove(registry *registry, const char *reference, uint32_t *ret_count, tn_error *err);

/* A lease keeps what a digest names, whatever is removed: services take one as long as they are. The holder's name is
 * any text; the same holder may take it again. */
tn_status registry_lease(registry *registry, const char *holder, const digest *digest, tn_error *err);
tn_status registry_release(registry *registry, const char *holder, const digest *digest, tn_error *err);
/* Releases every lease whose holder is no more, as is_gone says; that must not use the registry. */
typedef bool (*lease_is_gone)(void *ctx, const char *holder, const digest *digest);
tn_status registry_release_gone(registry *registry, lease_is_gone is_gone, void *ctx, tn_error *err);

typedef struct registry_garbage {
    uint64_t blobs, bytes; /* contents that no version and no lease needs */
    uint32_t folders;      /* views of none, and what killed runs left */
} registry_garbage;

/* Removes garbage; dry: counts it only. Safe beside anything else. */
tn_status registry_collect(registry *registry, bool dry, registry_garbage *ret_garbage, tn_error *err);

/* ---- checking and moving ---- */

/* Re-hashes the files of a version (NULL: of all), deep: opens it as the loader does, too. {"versions": [{"model",
 * "version", "digest", "bytes", "damage": [sentence...]}], "damaged": how many} */
tn_status registry_verify(registry *registry, const char *reference, bool deep, const weights_progress *progress,
                          json_t **ret_report, tn_error *err);
/* One version as one tar file; hashed on the way out. */
tn_status registry_export(registry *registry, const char *reference, const char *path, const weights_progress *progress,
                          tn_error *err);
/* A bundle, checked byte by byte. Names of the registration that are NULL are the bundle's. A version that is there
 * with the same digest is left as it is, but for the alias, which points to it then; notes for it are refused. */
tn_status registry_import(registry *registry, const char *path, const registration *registration,
                          const weights_progress *progress, registered *ret_registered, tn_error *err);

#endif
