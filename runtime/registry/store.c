/* runtime/registry/store.c: the folder opened, its paths, and files hashed. */
#include "registry/store.h"

#include "file/directory.h"
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 20 };

tn_status registry_root(const char *setting, char ret_root[PATH_MAX], tn_error *err)
{
    const char *home = secure_getenv("TENON_HOME"), *user = secure_getenv("HOME");
    int bytes;

    if (setting)
        bytes = snprintf(ret_root, PATH_MAX, "%s", setting);
    else if (home && home[0] == '/')
        bytes = snprintf(ret_root, PATH_MAX, "%s/registry", home);
    else if (home && home[0])
        return tn_fail(err, TN_E_ARGUMENT, "TENON_HOME is '%.200s'; it takes an absolute path", home);
    else if (user && user[0] == '/')
        bytes = snprintf(ret_root, PATH_MAX, "%s/.local/share/tenon/registry", user);
    else
        return tn_fail(err, TN_E_ARGUMENT, "no folder for the registry: set registry.path, TENON_HOME or HOME");
    if (bytes < 0 || bytes > ROOT_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the path of the registry is longer than %d bytes", ROOT_BYTES_MAX);
    return TN_OK;
}

void store_path(const registry *registry, char ret_path[PATH_MAX], const char *format, ...)
{
    int root = snprintf(ret_path, PATH_MAX, "%s/", registry->root);
    va_list arguments;

    va_start(arguments, format);
    int bytes = vsnprintf(ret_path + root, (size_t)(PATH_MAX - root), format, arguments);
    va_end(arguments);
    TN_ASSERT(bytes >= 0 && root + bytes < PATH_MAX);
}

void store_blob_path(const registry *registry, const digest *digest, char ret_path[PATH_MAX])
{
    store_path(registry, ret_path, "blobs/sha256/%s", digest->hex);
}

static tn_status make_folders(const registry *registry, tn_error *err)
{
    static const char *const folders[] = {"blobs/sha256", "views", "staging", "downloads"};
    char path[PATH_MAX];
    tn_status status = TN_OK;

    for (size_t i = 0; i < sizeof folders / sizeof *folders && status == TN_OK; i++) {
        store_path(registry, path, "%s", folders[i]);
        status = directory_make(path, err);
    }
    return status == TN_OK ? directory_sync(registry->root, err) : status;
}

tn_status registry_open(const char *root, bool create, registry **ret_registry, tn_error *err)
{
    char path[PATH_MAX];
    tn_error reason = TN_ERROR_INIT;

    if (strlen(root) > ROOT_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the path of the registry is longer than %d bytes", ROOT_BYTES_MAX);
    registry *opened = calloc(1, sizeof *opened);
    if (!opened)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the registry");
    snprintf(opened->root, sizeof opened->root, "%s", root);
    tn_status status = create ? make_folders(opened, err) : TN_OK;
    store_path(opened, path, "registry.db");
    if (status == TN_OK && (status = index_open(path, create, &opened->db, &reason)) != TN_OK) {
        if (status == TN_E_NOT_FOUND)
            tn_fail(err, status, "%.300s: there is no registry here; `tenon registry log NAME PATH` makes one", root);
        else
            tn_fail(err, status, "%s", reason.msg);
    }
    if (status != TN_OK) {
        registry_close(opened);
        return status;
    }
    *ret_registry = opened;
    return TN_OK;
}

void registry_close(registry *registry)
{
    if (!registry)
        return;
    index_close(registry->db);
    free(registry);
}

void meter_add(meter *meter, uint64_t bytes)
{
    meter->done += bytes;
    if (meter->progress)
        meter->progress->report(meter->progress->ctx, meter->done, meter->total);
}

/* Up to `bytes` bytes, one block at most; 0: the end. False: errno says why. */
static bool read_block(int fd, char *block, uint64_t bytes, size_t *ret_bytes)
{
    ssize_t count;
    do
        count = read(fd, block, bytes < BLOCK_BYTES ? (size_t)bytes : BLOCK_BYTES);
    while (count < 0 && errno == EINTR);
    *ret_bytes = count > 0 ? (size_t)count : 0;
    return count >= 0;
}

tn_status pass_bytes(int from, const char *from_path, uint64_t bytes, int to, const char *to_path, meter *meter,
                     file_hash *hash, tn_error *err)
{
    char *block = malloc(BLOCK_BYTES);
    size_t count;
    tn_status status = block ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory to read %.300s", from_path);

    for (uint64_t left = bytes; left > 0 && status == TN_OK; left -= count) {
        if (!read_block(from, block, left, &count))
            status = tn_fail(err, TN_E_IO, "%.400s: %s", from_path, strerror(errno));
        else if (count == 0)
            status = tn_fail(err, TN_E_CORRUPT, "%.400s: it became shorter while it was read", from_path);
        else if (to >= 0 && !write_all(to, block, count))
            status = tn_fail(err, TN_E_IO, "%.400s: %s", to_path, strerror(errno));
        if (status == TN_OK) {
            file_hash_update(hash, block, count);
            meter_add(meter, count);
        }
    }
    free(block);
    return status;
}

tn_status hash_file(int fd, const char *path, uint64_t bytes, meter *meter, digest *ret_digest,
                    char ret_git[GIT_HEX + 1], tn_error *err)
{
    file_hash hash;

    file_hash_init(&hash, bytes);
    if (lseek(fd, 0, SEEK_SET) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    tn_status status = pass_bytes(fd, path, bytes, -1, NULL, meter, &hash, err);
    if (status == TN_OK)
        file_hash_finish(&hash, ret_digest, ret_git);
    return status;
}

tn_status store_manifest(registry *registry, const digest *digest, manifest *ret_manifest, tn_error *err)
{
    char path[PATH_MAX];
    struct stat entry;

    store_blob_path(registry, digest, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &entry) != 0 || entry.st_size > MANIFEST_BYTES_MAX) {
        if (fd >= 0)
            close(fd);
        return tn_fail(err, TN_E_CORRUPT, "%.300s: the manifest is missing or too large; the store is damaged", path);
    }
    char *text = malloc((size_t)entry.st_size + 1);
    ssize_t bytes = text ? read(fd, text, (size_t)entry.st_size) : -1;
    close(fd);
    tn_status status = TN_OK;
    if (bytes != entry.st_size)
        status = tn_fail(err, text ? TN_E_IO : TN_E_MEMORY, "%.300s: the manifest cannot be read", path);
    if (status == TN_OK)
        status = manifest_parse(path, text, (size_t)bytes, ret_manifest, err);
    free(text);
    if (status == TN_OK && !digest_equal(&ret_manifest->digest, digest)) {
        manifest_finish(ret_manifest);
        status = tn_fail(err, TN_E_CORRUPT, "%.300s: the manifest is not the one that was stored; the store is damaged",
                         path);
    }
    return status;
}
