/* runtime/file/whole_file.c: write beside, sync, rename, sync the directory. */
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

static tn_status refuse(const whole_file *file, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.400s: %s", file->path, strerror(errno));
}

tn_status whole_file_begin(whole_file *file, const char *directory, const char *name, tn_error *err)
{
    int bytes = snprintf(file->path, sizeof file->path, "%s/%s", directory, name);

    file->fd = -1;
    if (bytes < 0 || (size_t)bytes >= sizeof file->path)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", directory);
    snprintf(file->partial, sizeof file->partial, "%s.partial", file->path);
    file->fd = open(file->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    return file->fd < 0 ? refuse(file, err) : TN_OK;
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

tn_status whole_file_end(whole_file *file, tn_error *err)
{
    tn_status status = fsync(file->fd) == 0 ? TN_OK : refuse(file, err);

    if (close(file->fd) != 0 && status == TN_OK)
        status = refuse(file, err);
    file->fd = -1;
    if (status == TN_OK && rename(file->partial, file->path) != 0)
        status = refuse(file, err);
    if (status == TN_OK)
        return sync_directory(file, err);
    unlink(file->partial);
    return status;
}

void whole_file_abandon(whole_file *file)
{
    if (file->fd < 0)
        return;
    close(file->fd);
    unlink(file->partial);
    file->fd = -1;
}
