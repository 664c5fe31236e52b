/* runtime/registry/manifest.h: what a version consists of: its files by name, size and SHA-256, and what they hold.
 *
 * A manifest is JSON text, and the SHA-256 of that text is the identity of the version: whoever has it can check all
 * the rest. It never changes; aliases, tags and the like live in the index. One from a bundle is hostile until it is
 * parsed.
 */
#ifndef REGISTRY_MANIFEST_H
#define REGISTRY_MANIFEST_H

#include "model/checkpoint.h"
#include "registry/digest.h"

#include <jansson.h>

enum { MANIFEST_BYTES_MAX = 16 << 20 };

typedef struct manifest_file {
    const char *name; /* borrowed from the manifest */
    uint64_t bytes;
    digest digest;
} manifest_file;

typedef struct manifest {
    json_t *json; /* owned */
    char *text;   /* owned: the JSON as it is stored, text_bytes long */
    size_t text_bytes;
    digest digest;        /* of text */
    const char *entry;    /* the file that the loader opens; "": the directory. Borrowed from json */
    manifest_file *files; /* owned */
    uint32_t file_count;
    uint64_t bytes; /* of all files */
} manifest;

/* Sizes, names, hashes and their agreement are checked; where begins messages. Moved to the caller, who finishes it. */
tn_status manifest_parse(const char *where, const char *text, size_t bytes, manifest *ret_manifest, tn_error *err);

/* Which of the files the loader opens: "" for a directory of safetensors, or else the one GGUF file. */
tn_status manifest_choose_entry(const manifest_file *files, uint32_t count, const char **ret_entry, tn_error *err);
/* Opens entry as the loader does; directory is where the files lie. */
tn_status manifest_open_entry(const char *directory, const char *entry, checkpoint **ret_checkpoint, tn_error *err);
/* Describes the files in `directory`: opens them as the loader does, so what is broken or no model is refused.
 * files: digests and sizes known already; borrowed. source: a JSON object that says where they come from; borrowed. */
tn_status manifest_create(const char *directory, const manifest_file *files, uint32_t count, json_t *source,
                          manifest *ret_manifest, tn_error *err);
void manifest_finish(manifest *manifest); /* a zeroed one is fine */

#endif
