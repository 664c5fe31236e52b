/* plugins/cpu/host_memory.c: see host_memory.h. Reads /proc/meminfo and the control group files of versions 2 and 1. */
#include "host_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

/* Takes the pages now: what was planned is there, or it fails here and not in the middle of a step. */
static bool populate(uint8_t *block, uint64_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    if (madvise(block, bytes, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL) /* EINVAL: a kernel before 5.14 */
        return false;
#endif
    for (uint64_t at = 0; at < bytes; at += 4096)
        ((volatile uint8_t *)block)[at] = 0;
    return true;
}

tn_status memory_map(uint64_t bytes, const char *what, uint8_t **ret_block, tn_error *err)
{
    *ret_block = NULL;
    if (bytes == 0)
        return TN_OK;
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        int code = errno;
        return tn_fail(err, TN_E_MEMORY, "%s: %" PRIu64 " bytes are not to be had (%s)", what, bytes, strerror(code));
    }
    madvise(block, bytes, MADV_HUGEPAGE); /* a hint; without huge pages it is slower, not wrong */
    if (!populate(block, bytes)) {
        int code = errno;
        munmap(block, bytes);
        return tn_fail(err, TN_E_MEMORY, "%s: %" PRIu64 " bytes are not to be had (%s)", what, bytes, strerror(code));
    }
    *ret_block = block;
    return TN_OK;
}

void memory_unmap(uint8_t *block, uint64_t bytes)
{
    if (block)
        munmap(block, bytes);
}

/* The first number in a file. */
static bool read_number(const char *path, uint64_t *ret)
{
    FILE *file = fopen(path, "re");
    bool ok = file && fscanf(file, "%" SCNu64, ret) == 1;
    if (file)
        fclose(file);
    return ok;
}

/* The path of this process's control group for version 2 ("" prefix) or a version 1 controller. */
static bool cgroup_path(const char *controller, char *path, size_t path_bytes)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[512];
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;
        if (!where)
            continue;
        *where++ = 0;
        where[strcspn(where, "\n")] = 0;
        if (*controller ? strcmp(names + 1, controller) == 0 : names[1] == 0) {
            snprintf(path, path_bytes, "%s", strcmp(where, "/") == 0 ? "" : where);
            found = true;
        }
    }
    if (file)
        fclose(file);
    return found;
}

/* Lowers *limit to the smallest value of `file` in the group and its ancestors. Containers often see their own group as
 * the root, so the root's file counts too. */
static void limit_by(const char *mount, const char *group, const char *name, uint64_t *limit)
{
    char up[512], path[1200];

    snprintf(up, sizeof up, "%s", group);
    for (;;) {
        uint64_t value;
        snprintf(path, sizeof path, "%s%s/%s", mount, up, name);
        if (read_number(path, &value) && value < *limit)
            *limit = value;
        char *slash = strrchr(up, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

void memory_limits(uint64_t *ret_total, uint64_t *ret_free)
{
    uint64_t total = 0, available = 0, kib;
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256], group[512] = "";

    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemTotal: %" SCNu64, &kib) == 1)
            total = kib * 1024;
        else if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            available = kib * 1024;
    }
    if (file)
        fclose(file);

    uint64_t limit = total, used = 0;
    if (cgroup_path("", group, sizeof group))
        limit_by("/sys/fs/cgroup", group, "memory.max", &limit);
    if (cgroup_path("memory", group, sizeof group))
        limit_by("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", &limit);
    if (limit < total) {
        if (!read_number("/sys/fs/cgroup/memory.current", &used))
            read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", &used);
        uint64_t left = limit > used ? limit - used : 0;
        available = left < available ? left : available;
        total = limit;
    }
    *ret_total = total;
    *ret_free = available;
}

uint32_t memory_cgroup_cpus(void)
{
    char group[512] = "", path[700];
    uint64_t quota, period;

    if (!cgroup_path("", group, sizeof group))
        return 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    FILE *file = fopen(path, "re");
    if (!file)
        file = fopen("/sys/fs/cgroup/cpu.max", "re");
    bool ok =
        file && fscanf(file, "%" SCNu64 " %" SCNu64, &quota, &period) == 2 && period > 0; /* "max" has no number */
    if (file)
        fclose(file);
    return ok ? (uint32_t)((quota + period - 1) / period) : 0;
}
