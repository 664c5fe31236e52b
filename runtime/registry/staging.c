/* runtime/registry/staging.c: a version in the making, in a folder of its own.
 *
 * The folder is locked with flock for as long as its process lives, so `gc` can tell what a killed one left.
 */
#include "registry/store.h"

#include "file/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* `gc` holds a folder for a moment, another pull for as long as it runs. */
enum { LOCK_TRIES = 20, LOCK_PAUSE_MS = 50 };

/* Locks the folder at staging->path. False with errno EWOULDBLOCK: another process has it; ENOENT: `gc` was quicker. A
 * folder that is new and ours alone is waited for, since only `gc` can be looking at it. */
static bool lock_folder(staging *staging)
{
    struct stat locked, there;
    int fd = open(staging->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return false;
    if (flock(fd, staging->kept ? LOCK_EX | LOCK_NB : LOCK_EX) == 0 && fstat(fd, &locked) == 0) {
        if (stat(staging->path, &there) == 0 && there.st_ino == locked.st_ino) {
            staging->lock = fd;
            return true;
        }
        errno = ENOENT;
    }
    int reason = errno;
    close(fd);
    errno = reason;
    return false;
}

static tn_status make_folder(staging *staging, const char *key, tn_error *err)
{
    if (key) {
        store_path(staging->registry, staging->path, "downloads/%s", key);
        return directory_make(staging->path, err);
    }
    store_path(staging->registry, staging->path, "staging/XXXXXX");
    return mkdtemp(staging->path) ? TN_OK : tn_fail(err, TN_E_IO, "%.400s: %s", staging->path, strerror(errno));
}

tn_status staging_open(registry *registry, const char *key, staging *ret_staging, tn_error *err)
{
    staging opened = {.registry = registry, .lock = -1, .kept = key != NULL};
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    char files[PATH_MAX];
    uint32_t tries = 0;
    tn_status status;

    while ((status = make_folder(&opened, key, err)) == TN_OK && !lock_folder(&opened) &&
           (errno == ENOENT || (errno == EWOULDBLOCK && ++tries < LOCK_TRIES)))
        nanosleep(&pause, NULL);
    if (status == TN_OK && opened.lock < 0)
        status = errno == EWOULDBLOCK
                     ? tn_fail(err, TN_E_AGAIN, "%.300s: another process is working on it; wait for it", opened.path)
                     : tn_fail(err, TN_E_IO, "%.400s: %s", opened.path, strerror(errno));
    if (status != TN_OK)
        return status;
    staging_directory(&opened, files);
    status = directory_make(files, err);
    if (status != TN_OK) {
        staging_close(&opened);
        return status;
    }
    *ret_staging = opened;
    return TN_OK;
}

void staging_close(staging *staging)
{
    if (staging->lock < 0)
        return;
    if (!staging->kept)
        directory_remove(staging->path, NULL); /* what cannot be removed is garbage, which `gc` collects */
    close(staging->lock);
    staging->lock = -1;
}

void staging_directory(const staging *staging, char ret_path[PATH_MAX])
{
    int bytes = snprintf(ret_path, PATH_MAX, "%s/files", staging->path);
    TN_ASSERT(bytes > 0 && bytes < PATH_MAX);
}

tn_status staging_file_path(staging *staging, const char *name, char ret_path[PATH_MAX], tn_error *err)
{
    int bytes = snprintf(ret_path, PATH_MAX, "%s/files/%s", staging->path, name);
    TN_ASSERT(bytes > 0 && bytes < PATH_MAX);
    return strchr(name, '/') ? directory_make_parents(ret_path, err) : TN_OK;
}

/* Whether a file of the store has the contents that it is named by, and not only their size. Memory that runs out says
 * nothing about the file. */
static tn_status compare_contents(const char *path, const digest *promised, uint64_t bytes, meter *meter,
                                  bool *ret_same, tn_error *err)
{
    char git[GIT_HEX + 1];
    digest found;
    struct stat entry;
    tn_error reason = TN_ERROR_INIT;
    tn_status status = TN_E_IO;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd >= 0 && fstat(fd, &entry) == 0 && S_ISREG(entry.st_mode) && (uint64_t)entry.st_size == bytes)
        status = hash_file(fd, path, bytes, meter, &found, git, &reason);
    if (fd >= 0)
        close(fd);
    *ret_same = status == TN_OK && digest_equal(&found, promised);
    return status == TN_E_MEMORY ? tn_fail(err, status, "%s", reason.msg) : TN_OK;
}

tn_status staging_take_blob(staging *staging, const char *name, const digest *digest, uint64_t bytes, meter *meter,
                            bool *ret_taken, tn_error *err)
{
    char blob[PATH_MAX], beside[PATH_MAX], path[PATH_MAX];
    uint64_t before = meter->done;
    bool same = false;
    tn_status status = staging_file_path(staging, name, path, err);

    *ret_taken = false;
    if (status != TN_OK)
        return status;
    store_blob_path(staging->registry, digest, blob);
    snprintf(beside, sizeof beside, "%.3000s/shared", staging->path);
    unlink(beside);
    if (link(blob, beside) != 0)
        return TN_OK;
    status = compare_contents(beside, digest, bytes, meter, &same, err);
    *ret_taken = same && rename(beside, path) == 0;
    unlink(beside); /* there still if path was that link already */
    meter->done = *ret_taken ? meter->done : before;
    return status;
}

tn_status staging_copy(staging *staging, const char *name, int from, uint64_t bytes, meter *meter, digest *ret_digest,
                       char ret_git[GIT_HEX + 1], tn_error *err)
{
    char path[PATH_MAX];
    struct meter quiet = {0};
    bool shared;
    file_hash hash;
    tn_status status = staging_file_path(staging, name, path, err);

    if (status != TN_OK)
        return status;
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (to < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    file_hash_init(&hash, bytes);
    status = pass_bytes(from, name, bytes, to, path, meter, &hash, err);
    if (status == TN_OK && fsync(to) != 0)
        status = tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    close(to);
    if (status != TN_OK)
        return status;
    file_hash_finish(&hash, ret_digest, ret_git);
    return staging_take_blob(staging, name, ret_digest, bytes, &quiet, &shared, err);
}

tn_status staging_link(staging *staging, const char *name, const char *existing, tn_error *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    tn_status status = staging_file_path(staging, existing, from, err);

    if (status == TN_OK)
        status = staging_file_path(staging, name, to, err);
    if (status == TN_OK && link(from, to) != 0)
        status = tn_fail(err, TN_E_IO, "%.400s: %s", to, strerror(errno));
    return status;
}
