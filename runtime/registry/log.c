/* runtime/registry/log.c: `tenon registry log`: local files copied into the store, hashed as they are copied. */
#include "model/checkpoint.h"
#include "registry/source_files.h"
#include "registry/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static tn_status check_expected(const source_file *file, const digest *digest, const char *git, tn_error *err)
{
    const char *found = strlen(file->expected) == DIGEST_HEX ? digest->hex : git;
    if (!file->expected[0] || strcmp(file->expected, found) == 0)
        return TN_OK;
    return tn_fail(err, TN_E_CORRUPT,
                   "%.300s: its contents do not have the hash that is its name; the cache is damaged", file->path);
}

static tn_status copy_file(staging *staging, const source_file *file, meter *meter, manifest_file *entry, tn_error *err)
{
    char git[GIT_HEX + 1];
    struct stat now;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", file->path, strerror(errno));
    tn_status status = staging_copy(staging, file->name, fd, file->bytes, meter, &entry->digest, git, err);
    if (status == TN_OK && (fstat(fd, &now) != 0 || (uint64_t)now.st_size != file->bytes))
        status = tn_fail(err, TN_E_IO, "%.400s: it changed while it was read", file->path);
    close(fd);
    return status == TN_OK ? check_expected(file, &entry->digest, git, err) : status;
}

/* Opens what will be logged where it is, so that what is no model is refused by its own name, before it is copied. */
static tn_status check_source(const source_files *files, const manifest_file *entries, tn_error *err)
{
    checkpoint *checkpoint = NULL;
    const char *entry, *path = files->directory;
    tn_status status = manifest_choose_entry(entries, files->count, &entry, err);

    for (uint32_t i = 0; i < files->count && status == TN_OK && entry[0]; i++)
        if (strcmp(files->files[i].name, entry) == 0)
            path = files->files[i].path;
    if (status == TN_OK)
        status = checkpoint_open(path, &checkpoint, err);
    checkpoint_close(checkpoint);
    return status;
}

static tn_status log_files(staging *staging, const source_files *files, const registration *registration,
                           const weights_progress *progress, registered *ret_registered, tn_error *err)
{
    meter meter = {.progress = progress, .total = files->bytes};
    char directory[PATH_MAX];
    manifest manifest = {0};
    manifest_file *entries = calloc(files->count, sizeof *entries);
    tn_status status = entries ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for %u files", files->count);

    for (uint32_t i = 0; i < files->count && status == TN_OK; i++)
        entries[i] = (manifest_file){.name = files->files[i].name, .bytes = files->files[i].bytes};
    if (status == TN_OK)
        status = check_source(files, entries, err);
    for (uint32_t i = 0; i < files->count && status == TN_OK; i++)
        status = copy_file(staging, &files->files[i], &meter, &entries[i], err);
    staging_directory(staging, directory);
    if (status == TN_OK)
        status = manifest_create(directory, entries, files->count, files->origin, &manifest, err);
    if (status == TN_OK)
        status = staging_publish(staging, &manifest, registration, ret_registered, err);
    manifest_finish(&manifest);
    free(entries);
    return status;
}

tn_status registry_log(registry *registry, const char *path, const char *revision, const file_choice *choice,
                       const registration *registration, const weights_progress *progress, registered *ret_registered,
                       tn_error *err)
{
    source_files files = {0};
    staging staging = {.lock = -1};

    tn_status status = registration_check(registration, err);
    if (status == TN_OK)
        status = source_files_list(path, revision, choice, &files, err);
    if (status == TN_OK)
        status = staging_open(registry, NULL, &staging, err);
    if (status == TN_OK)
        status = log_files(&staging, &files, registration, progress, ret_registered, err);
    staging_close(&staging);
    source_files_finish(&files);
    return status;
}
