/* runtime/registry/store.h: the folder of the registry, and how a version gets into it.
 *
 *   registry.db             the index
 *   blobs/sha256/HEX        contents, among them manifests; read-only
 *   views/HEX/FILE...       a version as an ordinary model directory: links to
 *                           blobs; by the digest of its manifest
 *   staging/NAME/           what one `log` or `import` works on, locked by it
 *   downloads/NAME/         the same of a `pull`, kept when it is cut off
 */
#ifndef REGISTRY_STORE_H
#define REGISTRY_STORE_H

#include "model/weights.h"
#include "registry/index.h"
#include "registry/manifest.h"
#include "registry/registry.h"

#include <limits.h>

enum { ROOT_BYTES_MAX = 1024 };

struct registry {
    char root[ROOT_BYTES_MAX + 1];
    sqlite3 *db;
};

/* ROOT/text, formatted; asserts that it fits, which checked names always do. */
void store_path(const registry *registry, char ret_path[PATH_MAX], const char *format, ...) TN_PRINTF(3, 4);
void store_blob_path(const registry *registry, const digest *digest, char ret_path[PATH_MAX]);
/* The stored manifest, checked against its digest. */
tn_status store_manifest(registry *registry, const digest *digest, manifest *ret_manifest, tn_error *err);

/* How far reading, copying and hashing have come. */
typedef struct meter {
    const weights_progress *progress; /* NULL: nobody looks */
    uint64_t done, total;
} meter;
void meter_add(meter *meter, uint64_t bytes);

/* A version in the making: its files, under their names, in a folder that is locked as long as we live. */
typedef struct staging {
    registry *registry;
    char path[PATH_MAX];
    int lock;  /* the open folder; -1: none */
    bool kept; /* left where it is by staging_close, for another try */
} staging;

/* key NULL: a new folder. Else the folder downloads/KEY, with what is in it; TN_E_AGAIN: another process works on it.
 */
tn_status staging_open(registry *registry, const char *key, staging *ret_staging, tn_error *err);
/* Where file `name` (checked) is to be; its folders are made. */
tn_status staging_file_path(staging *staging, const char *name, char ret_path[PATH_MAX], tn_error *err);
/* Copies `bytes` bytes from where an open file stands, to the disk; both hashes. What the store has already takes no
 * second place. */
tn_status staging_copy(staging *staging, const char *name, int from, uint64_t bytes, meter *meter, digest *ret_digest,
                       char ret_git[GIT_HEX + 1], tn_error *err);
/* If the store has these contents already, the file is a link to them from now on, and takes no second place. They are
 * hashed before, so that a damaged blob never takes the place of a good file. The link keeps them, even if `gc` removes
 * the blob's own name meanwhile. *ret_taken false: the store has them not, or not any more. */
tn_status staging_take_blob(staging *staging, const char *name, const digest *digest, uint64_t bytes, meter *meter,
                            bool *ret_taken, tn_error *err);
/* Another name of a file that is there. */
tn_status staging_link(staging *staging, const char *name, const char *existing, tn_error *err);
/* Whether its names are names, and its texts UTF-8. */
tn_status registration_check(const registration *registration, tn_error *err);
/* The rows of a new version. The caller holds the write lock. */
tn_status registration_insert(registry *registry, const registration *registration, const manifest *manifest,
                              registered *ret_registered, tn_error *err);
/* Files become blobs and a view, then the index gets the version: all or nothing, whenever the process dies. */
tn_status staging_publish(staging *staging, const manifest *manifest, const registration *registration,
                          registered *ret_registered, tn_error *err);
/* Removes the folder unless it is kept. One that is zeroed with lock -1 is fine. */
void staging_close(staging *staging);
/* Where its files lie. */
void staging_directory(const staging *staging, char ret_path[PATH_MAX]);

/* Reads `bytes` bytes from where the file stands, hashes them and, unless to is -1, writes them there; paths are for
 * messages. */
tn_status pass_bytes(int from, const char *from_path, uint64_t bytes, int to, const char *to_path, meter *meter,
                     file_hash *hash, tn_error *err);
/* Hashes an open file from its beginning. */
tn_status hash_file(int fd, const char *path, uint64_t bytes, meter *meter, digest *ret_digest,
                    char ret_git[GIT_HEX + 1], tn_error *err);

#endif
