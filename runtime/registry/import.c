/* runtime/registry/import.c: a bundle read from beginning to end, each byte checked before it is anything.
 *
 * The head names the manifest's digest, the manifest names the digests of all contents, so whoever trusts the digest of
 * a version can take its bundle from anywhere. Members must come in the order in which we write them.
 */
#include "registry/bundle.h"
#include "registry/store.h"
#include "registry/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct reader {
    const char *path;
    int fd;
    uint64_t left; /* bytes of the file that were not read yet */
    meter meter;
} reader;

/* Exactly `bytes` bytes, of those that the file has. */
static tn_status read_exactly(reader *reader, void *to, size_t bytes, tn_error *err)
{
    char *at = to;

    if (bytes > reader->left)
        return tn_fail(err, TN_E_CORRUPT, "%.400s: the bundle is cut short; copy it again", reader->path);
    reader->left -= bytes;
    while (bytes) {
        ssize_t count = read(reader->fd, at, bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return tn_fail(err, TN_E_IO, "%.400s: %s", reader->path, count ? strerror(errno) : "it became shorter");
        at += count;
        bytes -= (size_t)count;
    }
    return TN_OK;
}

static tn_status skip_padding(reader *reader, uint64_t bytes, tn_error *err)
{
    char rest[TAR_BLOCK];
    return read_exactly(reader, rest, (size_t)tar_padding(bytes), err);
}

/* The header of the next member, which must be `name` and fit the file. */
static tn_status next_member(reader *reader, const char *name, uint64_t *ret_bytes, tn_error *err)
{
    uint8_t block[TAR_BLOCK];
    char found[TAR_NAME_BYTES_MAX + 1] = "";
    bool end;
    tn_status status = read_exactly(reader, block, sizeof block, err);

    if (status == TN_OK)
        status = tar_read_header(reader->path, block, found, ret_bytes, &end, err);
    if (status != TN_OK)
        return status;
    if (end || strcmp(found, name) != 0)
        return tn_fail(err, TN_E_CORRUPT, "%.300s: the bundle has %s%.99s%s where %.99s belongs", reader->path,
                       end ? "" : "'", end ? "its end" : found, end ? "" : "'", name);
    if (*ret_bytes > reader->left)
        return tn_fail(err, TN_E_CORRUPT, "%.400s: the bundle is cut short; copy it again", reader->path);
    return TN_OK;
}

/* A member that is small enough to be held. Owned by the caller. */
static tn_status read_text(reader *reader, const char *name, uint64_t bytes_max, char **ret_text, size_t *ret_bytes,
                           tn_error *err)
{
    uint64_t bytes;
    tn_status status = next_member(reader, name, &bytes, err);

    if (status != TN_OK)
        return status;
    if (bytes > bytes_max)
        return tn_fail(err, TN_E_CORRUPT, "%.300s: %.99s has %" PRIu64 " bytes; the limit is %" PRIu64, reader->path,
                       name, bytes, bytes_max);
    char *text = malloc((size_t)bytes + 1);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %.99s", name);
    status = read_exactly(reader, text, (size_t)bytes, err);
    if (status == TN_OK)
        status = skip_padding(reader, bytes, err);
    if (status != TN_OK) {
        free(text);
        return status;
    }
    *ret_text = text;
    *ret_bytes = (size_t)bytes;
    return TN_OK;
}

/* The first `bytes` bytes of what is left, into a staged file. */
static tn_status read_blob(reader *reader, staging *staging, const manifest_file *file, tn_error *err)
{
    char name[TAR_NAME_BYTES_MAX + 1], git[GIT_HEX + 1];
    uint64_t bytes;
    digest found;

    snprintf(name, sizeof name, "blobs/sha256/%s", file->digest.hex);
    tn_status status = next_member(reader, name, &bytes, err);
    if (status == TN_OK && bytes != file->bytes)
        status = tn_fail(err, TN_E_CORRUPT, "%.300s: '%.100s' has %" PRIu64 " bytes; the manifest says %" PRIu64,
                         reader->path, file->name, bytes, file->bytes);
    if (status == TN_OK)
        status = staging_copy(staging, file->name, reader->fd, bytes, &reader->meter, &found, git, err);
    if (status != TN_OK)
        return status;
    reader->left -= bytes;
    if (!digest_equal(&found, &file->digest))
        return tn_fail(err, TN_E_CORRUPT,
                       "%.300s: '%.100s' does not have the contents that the manifest promises; copy the bundle again",
                       reader->path, file->name);
    return skip_padding(reader, bytes, err);
}

static const manifest_file *same_content(const manifest *manifest, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (digest_equal(&manifest->files[i].digest, &manifest->files[at].digest))
            return &manifest->files[i];
    return NULL;
}

static tn_status read_blobs(reader *reader, staging *staging, const manifest *manifest, tn_error *err)
{
    tn_status status = TN_OK;

    reader->meter.total = manifest->bytes;
    for (uint32_t i = 0; i < manifest->file_count && status == TN_OK; i++) {
        const manifest_file *twin = same_content(manifest, i);
        if (twin && twin->bytes != manifest->files[i].bytes)
            return tn_fail(err, TN_E_CORRUPT,
                           "%.300s: '%.60s' and '%.60s' have the same contents, but not the same size", reader->path,
                           twin->name, manifest->files[i].name);
        status = twin ? staging_link(staging, manifest->files[i].name, twin->name, err)
                      : read_blob(reader, staging, &manifest->files[i], err);
    }
    return status;
}

static tn_status read_end(reader *reader, tn_error *err)
{
    uint8_t block[TAR_BLOCK];
    char name[TAR_NAME_BYTES_MAX + 1];
    uint64_t bytes;
    bool end = false;
    tn_status status = read_exactly(reader, block, sizeof block, err);

    if (status == TN_OK)
        status = tar_read_header(reader->path, block, name, &bytes, &end, err);
    if (status == TN_OK && !end)
        status = tn_fail(err, TN_E_CORRUPT, "%.400s: the bundle holds more than its manifest lists", reader->path);
    return status;
}

static tn_status read_head(reader *reader, bundle_head *ret_head, tn_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    tn_status status = read_text(reader, BUNDLE_NAME, BUNDLE_HEAD_BYTES_MAX, &text, &bytes, err);

    if (status == TN_OK)
        status = bundle_head_parse(reader->path, text, bytes, ret_head, err);
    free(text);
    return status;
}

static tn_status read_manifest(reader *reader, const digest *digest, manifest *ret_manifest, tn_error *err)
{
    char name[TAR_NAME_BYTES_MAX + 1], *text = NULL;
    size_t bytes = 0;

    snprintf(name, sizeof name, "blobs/sha256/%s", digest->hex);
    tn_status status = read_text(reader, name, MANIFEST_BYTES_MAX, &text, &bytes, err);
    if (status == TN_OK)
        status = manifest_parse(reader->path, text, bytes, ret_manifest, err);
    free(text);
    if (status == TN_OK && !digest_equal(&ret_manifest->digest, digest)) {
        manifest_finish(ret_manifest);
        status = tn_fail(err, TN_E_CORRUPT,
                         "%.400s: the manifest is not the one that the bundle promises; copy it again", reader->path);
    }
    return status;
}

/* What the loader will open must be a model, as with `log`. */
static tn_status check_model(const staging *staging, const manifest *manifest, tn_error *err)
{
    checkpoint *checkpoint = NULL;
    char directory[PATH_MAX];

    staging_directory(staging, directory);
    tn_status status = manifest_open_entry(directory, manifest->entry, &checkpoint, err);
    checkpoint_close(checkpoint);
    return status;
}

/* ---- into the registry ---- */

/* Names that were given go before those of the bundle. */
static registration merge(const bundle_head *head, const registration *given)
{
    registration merged = head->registration;

    merged.model = given->model ? given->model : merged.model;
    merged.version = given->version ? given->version : merged.version;
    merged.alias = given->alias;
    merged.task = given->task ? given->task : merged.task;
    merged.comment = given->comment ? given->comment : merged.comment;
    if (given->tag_count) {
        merged.tags = given->tags;
        merged.tag_count = given->tag_count;
    }
    if (given->metric_count) {
        merged.metrics = given->metrics;
        merged.metric_count = given->metric_count;
    }
    return merged;
}

/* Whether the same digest is there under the same name. Another one is an error, before gigabytes are copied. */
static tn_status find_present(registry *registry, const registration *r, const digest *digest, bool *ret_present,
                              registered *ret_registered, tn_error *err)
{
    char reference[2 * NAME_BYTES_MAX + 2];
    registered found;

    snprintf(reference, sizeof reference, "%s@%s", r->model, r->version);
    tn_status status = registry_find(registry, reference, &found, err);
    *ret_present = status == TN_OK;
    if (status == TN_E_NOT_FOUND)
        return TN_OK;
    if (status == TN_OK && !digest_equal(&found.digest, digest))
        status = tn_fail(err, TN_E_ARGUMENT, "%s is there already, with other contents; choose another --version",
                         reference);
    if (status == TN_OK)
        *ret_registered = found;
    return status;
}

/* What was asked for a version that is there: an alias may point to it, but what was noted of it stays. */
static tn_status name_present(registry *registry, const registration *given, const registered *present, tn_error *err)
{
    char reference[2 * NAME_BYTES_MAX + 2];

    snprintf(reference, sizeof reference, "%s@%s", present->model, present->version);
    if (given->task || given->comment || given->tag_count || given->metric_count)
        return tn_fail(err, TN_E_ARGUMENT,
                       "%s is there already with the same contents, and what was noted of it does not change; leave "
                       "out --task, --comment, --tag and --metric, or choose another --version",
                       reference);
    return given->alias ? registry_set_alias(registry, reference, given->alias, err) : TN_OK;
}

/* All that follows the head. */
static tn_status import_files(registry *registry, reader *reader, const digest *digest,
                              const registration *registration, registered *ret_registered, tn_error *err)
{
    manifest manifest = {0};
    staging staging = {.lock = -1};

    tn_status status = read_manifest(reader, digest, &manifest, err);
    if (status == TN_OK)
        status = staging_open(registry, NULL, &staging, err);
    if (status == TN_OK)
        status = read_blobs(reader, &staging, &manifest, err);
    if (status == TN_OK)
        status = read_end(reader, err);
    if (status == TN_OK)
        status = check_model(&staging, &manifest, err);
    if (status == TN_OK)
        status = staging_publish(&staging, &manifest, registration, ret_registered, err);
    staging_close(&staging);
    manifest_finish(&manifest);
    return status;
}

static tn_status import_bundle(registry *registry, reader *reader, const registration *given,
                               registered *ret_registered, tn_error *err)
{
    bundle_head *head = calloc(1, sizeof *head);
    registration registration = {0};
    bool present = false;

    if (!head)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a bundle");
    tn_status status = read_head(reader, head, err);
    if (status == TN_OK) {
        registration = merge(head, given);
        status = registration_check(&registration, err);
    }
    if (status == TN_OK)
        status = find_present(registry, &registration, &head->manifest, &present, ret_registered, err);
    if (status == TN_OK && present)
        status = name_present(registry, given, ret_registered, err);
    if (status == TN_OK && !present)
        status = import_files(registry, reader, &head->manifest, &registration, ret_registered, err);
    bundle_head_finish(head);
    free(head);
    return status;
}

tn_status registry_import(registry *registry, const char *path, const registration *given,
                          const weights_progress *progress, registered *ret_registered, tn_error *err)
{
    reader reader = {.path = path, .meter.progress = progress};
    struct stat entry;

    reader.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not waited for, but refused */
    if (reader.fd < 0)
        return tn_fail(err, errno == ENOENT ? TN_E_NOT_FOUND : TN_E_IO, "%.400s: %s", path, strerror(errno));
    tn_status status = TN_OK;
    if (fstat(reader.fd, &entry) != 0 || !S_ISREG(entry.st_mode))
        status = tn_fail(err, TN_E_ARGUMENT, "%.400s is no regular file", path);
    reader.left = status == TN_OK ? (uint64_t)entry.st_size : 0;
    if (status == TN_OK)
        status = import_bundle(registry, &reader, given, ret_registered, err);
    close(reader.fd);
    return status;
}
