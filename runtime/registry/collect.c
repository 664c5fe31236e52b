/* runtime/registry/collect.c: garbage: contents and views that no version and no lease needs, and folders of processes
 * that are gone. Contents and views are removed under the index's write lock, so that nothing can come to need them
 * meanwhile, and after the index was found whole; folders by their own locks, so that nobody waits for that.
 */
#include "registry/store.h"

#include "file/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEEDED_MANIFESTS "(SELECT digest FROM version UNION SELECT digest FROM lease)"

typedef struct collection {
    registry *registry;
    bool dry;
    registry_garbage found;
    sqlite3_stmt *needed; /* whether a digest is; for the folder that is walked */
} collection;

/* Removes what is at path, if it should. Names come from readdir. */
typedef tn_status (*visit)(collection *collection, const char *path, const char *name, tn_error *err);

static tn_status walk(collection *collection, const char *folder, visit visit, tn_error *err)
{
    char at[PATH_MAX], path[PATH_MAX];
    struct dirent *entry;
    tn_status status = TN_OK;

    store_path(collection->registry, at, "%s", folder);
    DIR *entries = opendir(at);
    if (!entries)
        return errno == ENOENT ? TN_OK : tn_fail(err, TN_E_IO, "%.400s: %s", at, strerror(errno));
    while (status == TN_OK && (entry = readdir(entries))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        store_path(collection->registry, path, "%s/%s", folder, entry->d_name);
        status = visit(collection, path, entry->d_name, err);
    }
    closedir(entries);
    return status;
}

static tn_status is_needed(collection *collection, const char *name, bool *ret_needed, tn_error *err)
{
    sqlite3_reset(collection->needed);
    sqlite3_bind_text(collection->needed, 1, name, -1, SQLITE_TRANSIENT);
    return index_step(collection->needed, ret_needed, err);
}

static tn_status visit_blob(collection *collection, const char *path, const char *name, tn_error *err)
{
    struct stat entry;
    bool needed = false;
    tn_status status = is_needed(collection, name, &needed, err);

    if (status != TN_OK || needed || lstat(path, &entry) != 0)
        return status;
    collection->found.blobs++;
    collection->found.bytes += (uint64_t)entry.st_size;
    if (!collection->dry && unlink(path) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    return TN_OK;
}

static tn_status remove_folder(collection *collection, const char *path, tn_error *err)
{
    collection->found.folders++;
    return collection->dry ? TN_OK : directory_remove(path, err);
}

static tn_status visit_view(collection *collection, const char *path, const char *name, tn_error *err)
{
    bool needed = false;
    tn_status status = is_needed(collection, name, &needed, err);
    return status != TN_OK || needed ? status : remove_folder(collection, path, err);
}

/* A folder that somebody works in is locked. */
static tn_status visit_staging(collection *collection, const char *path, const char *name, tn_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    tn_status status = TN_OK;

    (void)name;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        status = remove_folder(collection, path, err);
    if (fd >= 0)
        close(fd);
    return status;
}

static tn_status walk_needed(collection *collection, const char *folder, const char *sql, visit visit, tn_error *err)
{
    tn_status status = index_prepare(collection->registry->db, &collection->needed, err, sql, "t", "");
    if (status == TN_OK)
        status = walk(collection, folder, visit, err);
    sqlite3_finalize(collection->needed);
    return status;
}

static tn_status collect_contents(collection *collection, tn_error *err)
{
    tn_status status = index_check(collection->registry->db, err);

    if (status == TN_OK && !collection->dry)
        status =
            index_run(collection->registry->db, err, "DELETE FROM file WHERE manifest NOT IN " NEEDED_MANIFESTS, "");
    if (status == TN_OK)
        status = walk_needed(collection, "blobs/sha256",
                             "SELECT 1 FROM file WHERE digest = ?1 AND manifest IN " NEEDED_MANIFESTS
                             " UNION ALL SELECT 1 FROM version WHERE digest = ?1"
                             " UNION ALL SELECT 1 FROM lease WHERE digest = ?1",
                             visit_blob, err);
    if (status == TN_OK)
        status = walk_needed(collection, "views",
                             "SELECT 1 FROM version WHERE digest = ?1 UNION ALL SELECT 1 FROM lease WHERE digest = ?1",
                             visit_view, err);
    return status;
}

tn_status registry_collect(registry *registry, bool dry, registry_garbage *ret_garbage, tn_error *err)
{
    collection collection = {.registry = registry, .dry = dry};
    tn_status status = walk(&collection, "staging", visit_staging, err);

    if (status == TN_OK)
        status = walk(&collection, "downloads", visit_staging, err);
    if (status == TN_OK)
        status = index_begin(registry->db, err);
    if (status != TN_OK)
        return status;
    status = index_end(registry->db, collect_contents(&collection, err), err);
    if (status == TN_OK)
        *ret_garbage = collection.found;
    return status;
}
