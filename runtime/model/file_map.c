/* runtime/model/file_map.c: open, stat, mmap. The map is private and read-only. A file that another program shortens
 * while it is mapped raises SIGBUS on access, as for every program that maps files; deleting it does no harm.
 */
#include "model/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static tn_status map_descriptor(int fd, const char *path, file_map *ret_map, tn_error *err)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return tn_fail(err, TN_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(stat.st_mode))
        return tn_fail(err, TN_E_IO, "%s: not a regular file", path);
    if (stat.st_size == 0) { /* mmap refuses to map nothing */
        *ret_map = file_map_borrow("", 0);
        return TN_OK;
    }
    void *bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return tn_fail(err, TN_E_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    *ret_map = (file_map){bytes, (uint64_t)stat.st_size, true};
    return TN_OK;
}

tn_status file_map_open(const char *path, file_map *ret_map, tn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us before fstat sees it */
    if (fd < 0)
        return tn_fail(err, errno == ENOENT ? TN_E_NOT_FOUND : TN_E_IO, "%s: %s", path, strerror(errno));
    tn_status status = map_descriptor(fd, path, ret_map, err);
    close(fd);
    return status;
}

file_map file_map_borrow(const void *bytes, uint64_t size)
{
    return (file_map){bytes, size, false};
}

void file_map_close(file_map *map)
{
    if (map->mapped)
        munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (file_map){0};
}

void file_map_release(const file_map *map, const void *data, uint64_t bytes)
{
    uintptr_t base = (uintptr_t)map->bytes, start = (uintptr_t)data;
    if (!map->mapped || start < base || start - base > map->size || bytes > map->size - (start - base))
        return;
    /* Both ends round down: the page shared with what is read next stays, the one shared with the past goes. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = start & ~(page - 1), last = (start + bytes) & ~(page - 1);
    if (start + bytes == base + map->size)
        last = start + bytes;
    if (last > first)
        madvise((void *)first, last - first, MADV_DONTNEED);
}
