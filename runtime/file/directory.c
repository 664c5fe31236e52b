/* runtime/file/directory.c: see directory.h. Trees are walked without following links and without changing directory.
 */
#include "file/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_DIRECTORIES = 16 };

static tn_status refuse(const char *path, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
}

static bool sync_entries(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0 || errno == EINVAL;
    close(fd);
    return synced;
}

/* What is made is on the disk, by its entry in the directory that it lies in. */
static bool exists_or_made(const char *path)
{
    char parent[PATH_MAX];
    struct stat entry;

    if (mkdir(path, 0777) != 0) {
        if (errno != EEXIST || stat(path, &entry) != 0)
            return false;
        errno = ENOTDIR;
        return S_ISDIR(entry.st_mode);
    }
    snprintf(parent, sizeof parent, "%s", path);
    return sync_entries(dirname(parent));
}

/* Every directory that `bytes` of path name the way to. */
static tn_status make_way(const char *path, size_t bytes, tn_error *err)
{
    char part[PATH_MAX];

    if (bytes >= sizeof part)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", path);
    for (size_t at = 1; at <= bytes; at++) {
        if (at < bytes && path[at] != '/')
            continue;
        memcpy(part, path, at);
        part[at] = '\0';
        if (!exists_or_made(part))
            return refuse(part, err);
    }
    return TN_OK;
}

tn_status directory_make(const char *path, tn_error *err)
{
    return make_way(path, strlen(path), err);
}

tn_status directory_make_parents(const char *file_path, tn_error *err)
{
    const char *slash = strrchr(file_path, '/');
    return slash && slash != file_path ? make_way(file_path, (size_t)(slash - file_path), err) : TN_OK;
}

tn_status directory_sync(const char *path, tn_error *err)
{
    return sync_entries(path) ? TN_OK : refuse(path, err);
}

static int sync_one(const char *path, const struct stat *entry, int kind, struct FTW *walk)
{
    (void)entry;
    (void)walk;
    return kind != FTW_DP || sync_entries(path) ? 0 : -1;
}

tn_status directory_sync_tree(const char *path, tn_error *err)
{
    return nftw(path, sync_one, OPEN_DIRECTORIES, FTW_PHYS | FTW_DEPTH) == 0 ? TN_OK : refuse(path, err);
}

static int remove_one(const char *path, const struct stat *entry, int kind, struct FTW *walk)
{
    (void)entry;
    (void)kind;
    (void)walk;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

tn_status directory_remove(const char *path, tn_error *err)
{
    return nftw(path, remove_one, OPEN_DIRECTORIES, FTW_PHYS | FTW_DEPTH) == 0 || errno == ENOENT ? TN_OK
                                                                                                  : refuse(path, err);
}
