/* runtime/registry/source_files.h: the files that are to be logged: of a directory, a GGUF file or a Hugging Face cache
 * entry. */
#ifndef REGISTRY_SOURCE_FILES_H
#define REGISTRY_SOURCE_FILES_H

#include "registry/registry.h"

typedef struct source_file {
    char *name; /* as it will be called; owned */
    char *path; /* where it is, links resolved; owned */
    uint64_t bytes;
    char expected[DIGEST_HEX + 1]; /* SHA-256 or Git blob hash that it must have; "": not known */
} source_file;

typedef struct source_files {
    source_file *files; /* owned, sorted by name */
    uint32_t count, capacity;
    uint64_t bytes;
    char *directory; /* listed; NULL: it is a file. Owned */
    json_t *origin;  /* owned: {"kind", "path", ...} for the manifest */
} source_files;

/* Lists and checks names, kinds of files and where links lead; reads no contents. Hidden files are left out, and what
 * the choice leaves out. Half-built on failure; finish in any case. */
tn_status source_files_list(const char *path, const char *revision, const file_choice *choice, source_files *ret_files,
                            tn_error *err);
void source_files_finish(source_files *files); /* a zeroed one is fine */

#endif
