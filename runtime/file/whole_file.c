/* runtime/file/whole_file.c: write beside, sync, rename, sync the directory. */
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static tn_status refuse(const whole_file *file, tn_error *err)
{
    if (err)
        err->native_code = errno;
    return tn_fail(err, TN_E_IO, "%.400s: %s", file->path, strerror(errno));
}

static void close_file(whole_file *file)
{
    close(file->fd);
    file->fd = -1;
}

/* Locks and empties the open file, so that two that write the same name do not write into each other (where the file
 * system has no locks, nobody can tell). fd is -1 if the one that held it has renamed or removed it meanwhile. */
static tn_status take_partial(whole_file *file, tn_error *err)
{
    struct stat locked, there;
    tn_status status = TN_OK;

    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status = tn_fail(err, TN_E_AGAIN, "%.400s: another process is writing it; wait for it", file->path);
    else if (stat(file->partial, &there) != 0 || fstat(file->fd, &locked) != 0 || there.st_ino != locked.st_ino)
        close_file(file);
    else if (ftruncate(file->fd, 0) != 0)
        status = refuse(file, err);
    if (status != TN_OK)
        close_file(file);
    return status;
}

/* bytes: of the path that was just written to file, or would have been. */
static tn_status open_partial(whole_file *file, int bytes, tn_error *err)
{
    file->fd = -1;
    if (bytes < 0 || (size_t)bytes >= sizeof file->path)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s...: the path is too long", file->path);
    snprintf(file->partial, sizeof file->partial, "%s.partial", file->path);
    while (file->fd < 0) {
        file->fd = open(file->partial, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (file->fd < 0)
            return refuse(file, err);
        tn_status status = take_partial(file, err);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

tn_status whole_file_begin(whole_file *file, const char *directory, const char *name, tn_error *err)
{
    int bytes = snprintf(file->path, sizeof file->path, "%s/%s", directory, name);
    return open_partial(file, bytes, err);
}

tn_status whole_file_begin_path(whole_file *file, const char *path, tn_error *err)
{
    int bytes = snprintf(file->path, sizeof file->path, "%s", path);
    return open_partial(file, bytes, err);
}

bool write_all(int fd, const void *data, uint64_t bytes)
{
    const char *at = data;

    while (bytes) {
        ssize_t written = write(fd, at, bytes < (1u << 30) ? bytes : 1u << 30);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        at += written;
        bytes -= (uint64_t)written;
    }
    return true;
}

bool read_all(int fd, void *data, uint64_t bytes, uint64_t at)
{
    char *to = data;

    while (bytes) {
        ssize_t count = pread(fd, to, bytes < (1u << 30) ? bytes : 1u << 30, (off_t)at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        to += count;
        at += (uint64_t)count;
        bytes -= (uint64_t)count;
    }
    return true;
}

tn_status whole_file_write(whole_file *file, const void *data, uint64_t bytes, tn_error *err)
{
    return write_all(file->fd, data, bytes) ? TN_OK : refuse(file, err);
}

static tn_status sync_directory(const whole_file *file, tn_error *err)
{
    char directory[sizeof file->path];

    memcpy(directory, file->path, sizeof directory);
    int fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return refuse(file, err);
    tn_status status = fsync(fd) == 0 || errno == EINVAL ? TN_OK : refuse(file, err);
    close(fd);
    return status;
}

/* Gives the file its name if all before went well (status), and closes it in any case. */
static tn_status take_name(whole_file *file, tn_status status, tn_error *err)
{
    if (status == TN_OK && rename(file->partial, file->path) != 0)
        status = refuse(file, err);
    if (status == TN_OK)
        close_file(file); /* and with it the lock, now that nobody finds the file under its other name */
    else
        whole_file_abandon(file);
    return status;
}

tn_status whole_file_end(whole_file *file, tn_error *err)
{
    tn_status status = take_name(file, fsync(file->fd) == 0 ? TN_OK : refuse(file, err), err);
    return status == TN_OK ? sync_directory(file, err) : status;
}

void whole_file_abandon(whole_file *file)
{
    if (file->fd < 0)
        return;
    unlink(file->partial);
    close_file(file);
}

tn_status whole_file_put(const char *directory, const char *name, const void *data, uint64_t bytes, tn_error *err)
{
    whole_file file;
    tn_status status = whole_file_begin(&file, directory, name, err);

    if (status != TN_OK)
        return status;
    status = whole_file_write(&file, data, bytes, err);
    if (status == TN_OK)
        return whole_file_end(&file, err);
    whole_file_abandon(&file);
    return status;
}

tn_status whole_file_show(const char *path, const void *data, uint64_t bytes, tn_error *err)
{
    whole_file file;
    tn_status status = whole_file_begin_path(&file, path, err);

    return status == TN_OK ? take_name(&file, whole_file_write(&file, data, bytes, err), err) : status;
}
