/* runtime/quantize/kept_shards.c: see kept_shards.h. */
#include "quantize/kept_shards.h"

#include "file/whole_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES_MAX = 64 << 20 };

static tn_status compare_shard(int fd, const shard *shard, bool *ret_same, tn_error *err)
{
    struct stat entry;
    char *head = malloc(shard->header_bytes);

    if (!head)
        return tn_fail(err, TN_E_MEMORY, "header of %s", shard->name);
    *ret_same = fstat(fd, &entry) == 0 && (uint64_t)entry.st_size == shard->header_bytes + shard->data_bytes &&
                read_all(fd, head, shard->header_bytes, 0) && memcmp(head, shard->header, shard->header_bytes) == 0;
    free(head);
    return TN_OK;
}

/* The header as JSON, NULL if it is none. */
static json_t *read_header(int fd)
{
    uint64_t bytes = 0;
    bool fits = read_all(fd, &bytes, sizeof bytes, 0) && bytes <= HEADER_BYTES_MAX;
    char *text = fits ? malloc(bytes + 1) : NULL;
    json_t *header =
        text && read_all(fd, text, bytes, sizeof bytes) ? json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(text);
    return header;
}

/* Says why the file is not the one that this run would write there. */
static tn_status refuse(int fd, const char *path, const provenance *provenance, tn_error *err)
{
    json_t *header = read_header(fd);
    tn_status status = provenance_check_json(provenance, json_object_get(header, "__metadata__"), path, err);

    json_decref(header);
    if (status != TN_OK)
        return status;
    return tn_fail(err, TN_E_ARGUMENT, "%.400s is damaged, or another version of tenon wrote it: remove it", path);
}

tn_status kept_shards_find(const char *directory, const shard *shard, const provenance *provenance, bool *ret_found,
                           tn_error *err)
{
    char path[4096];

    *ret_found = false;
    snprintf(path, sizeof path, "%s/%s", directory, shard->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? TN_OK : tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    tn_status status = compare_shard(fd, shard, ret_found, err);
    if (status == TN_OK && !*ret_found)
        status = refuse(fd, path, provenance, err);
    close(fd);
    return status;
}

static bool is_planned(const shard_plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->shard_count; i++)
        if (strcmp(plan->shards[i].name, name) == 0)
            return true;
    return false;
}

static tn_status refuse_stranger(const char *directory, const char *name, const provenance *provenance, tn_error *err)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    tn_status status = refuse(fd, path, provenance, err);
    close(fd);
    return status;
}

tn_status kept_shards_refuse_strangers(const char *directory, const shard_plan *plan, const provenance *provenance,
                                       tn_error *err)
{
    static const char ending[] = ".safetensors";
    DIR *entries = opendir(directory);
    struct dirent *entry;
    tn_status status = TN_OK;

    if (!entries)
        return tn_fail(err, TN_E_IO, "%s: %s", directory, strerror(errno));
    while (status == TN_OK && (entry = readdir(entries))) {
        size_t bytes = strlen(entry->d_name), tail = sizeof ending - 1;
        if (bytes >= tail && strcmp(entry->d_name + bytes - tail, ending) == 0 && !is_planned(plan, entry->d_name))
            status = refuse_stranger(directory, entry->d_name, provenance, err);
    }
    closedir(entries);
    return status;
}
