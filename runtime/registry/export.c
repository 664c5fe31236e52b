/* runtime/registry/export.c: a version written as a bundle. What is written is hashed, so a damaged store exports
 * nothing. */
#include "registry/bundle.h"
#include "registry/store.h"
#include "registry/tar.h"

#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t zeros[2 * TAR_BLOCK];

static tn_status write_member_start(whole_file *to, const char *name, uint64_t bytes, tn_error *err)
{
    uint8_t block[TAR_BLOCK];
    tar_write_header(name, bytes, block);
    return whole_file_write(to, block, sizeof block, err);
}

static tn_status write_text(whole_file *to, const char *name, const char *text, size_t bytes, tn_error *err)
{
    tn_status status = write_member_start(to, name, bytes, err);
    if (status == TN_OK)
        status = whole_file_write(to, text, bytes, err);
    return status == TN_OK ? whole_file_write(to, zeros, tar_padding(bytes), err) : status;
}

static void member_name(const digest *digest, char ret_name[TAR_NAME_BYTES_MAX + 1])
{
    snprintf(ret_name, TAR_NAME_BYTES_MAX + 1, "blobs/sha256/%s", digest->hex);
}

static tn_status write_blob(registry *registry, whole_file *to, const manifest_file *file, meter *meter, tn_error *err)
{
    char path[PATH_MAX], name[TAR_NAME_BYTES_MAX + 1], git[GIT_HEX + 1];
    digest found;
    file_hash hash;

    store_blob_path(registry, &file->digest, path);
    member_name(&file->digest, name);
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return tn_fail(err, TN_E_CORRUPT, "%.400s: %s; the store is damaged", path, strerror(errno));
    file_hash_init(&hash, file->bytes);
    tn_status status = write_member_start(to, name, file->bytes, err);
    if (status == TN_OK)
        status = pass_bytes(from, path, file->bytes, to->fd, to->path, meter, &hash, err);
    close(from);
    if (status != TN_OK)
        return status;
    file_hash_finish(&hash, &found, git);
    if (!digest_equal(&found, &file->digest))
        return tn_fail(err, TN_E_CORRUPT, "%.400s: its contents have changed; the store is damaged", path);
    return whole_file_write(to, zeros, tar_padding(file->bytes), err);
}

/* {key: value}, of a version as registry_show gives it; nothing that a bundle does not carry. NULL: out of memory. */
static json_t *head_of(const json_t *version, const manifest *manifest)
{
    static const char *const kept[] = {"version", "task", "comment", "tags", "metrics"};
    char digest[DIGEST_HEX + 8];
    bool whole = true;

    snprintf(digest, sizeof digest, "sha256:%s", manifest->digest.hex);
    json_t *head = json_pack("{s:s, s:s, s:O}", "format", BUNDLE_FORMAT, "manifest", digest, "model",
                             json_object_get(version, "name"));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        whole = whole && json_object_set(head, kept[i], json_object_get(version, kept[i])) == 0;
    if (whole)
        return head;
    json_decref(head);
    return NULL;
}

static bool is_first(const manifest *manifest, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (digest_equal(&manifest->files[i].digest, &manifest->files[at].digest))
            return false;
    return true;
}

static tn_status write_bundle(registry *registry, whole_file *to, const json_t *version, const manifest *manifest,
                              const weights_progress *progress, tn_error *err)
{
    char name[TAR_NAME_BYTES_MAX + 1];
    meter meter = {.progress = progress, .total = manifest->bytes};
    json_t *head = head_of(version, manifest);
    char *text = head ? json_dumps(head, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;

    json_decref(head);
    tn_status status = text ? write_text(to, BUNDLE_NAME, text, strlen(text), err)
                            : tn_fail(err, TN_E_MEMORY, "out of memory for " BUNDLE_NAME);
    free(text);
    member_name(&manifest->digest, name);
    if (status == TN_OK)
        status = write_text(to, name, manifest->text, manifest->text_bytes, err);
    for (uint32_t i = 0; i < manifest->file_count && status == TN_OK; i++)
        if (is_first(manifest, i))
            status = write_blob(registry, to, &manifest->files[i], &meter, err);
    return status == TN_OK ? whole_file_write(to, zeros, sizeof zeros, err) : status;
}

static tn_status begin_file(const char *path, whole_file *ret_file, tn_error *err)
{
    struct stat entry;

    if (lstat(path, &entry) == 0)
        return tn_fail(err, TN_E_ARGUMENT, "%.400s is there already; name another file", path);
    return whole_file_begin_path(ret_file, path, err);
}

tn_status registry_export(registry *registry, const char *reference, const char *path, const weights_progress *progress,
                          tn_error *err)
{
    digest digest;
    manifest manifest = {0};
    json_t *version = NULL;
    whole_file file = {.fd = -1};

    tn_status status = registry_show(registry, reference, &version, err);
    if (status == TN_OK) { /* of the version that is shown, whatever the reference has come to mean since */
        bool good = digest_parse(json_string_value(json_object_get(version, "digest")), &digest);
        TN_ASSERT(good);
        status = store_manifest(registry, &digest, &manifest, err);
    }
    if (status == TN_OK)
        status = begin_file(path, &file, err);
    if (status == TN_OK)
        status = write_bundle(registry, &file, version, &manifest, progress, err);
    if (status == TN_OK)
        status = whole_file_end(&file, err);
    else
        whole_file_abandon(&file);
    manifest_finish(&manifest);
    json_decref(version);
    return status;
}
