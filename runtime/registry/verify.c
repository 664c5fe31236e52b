/* runtime/registry/verify.c: what is stored, against what was stored. Contents that versions share are hashed once. */
#include "registry/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct verification {
    registry *registry;
    bool deep;
    meter meter;
    json_t *seen; /* owned: blob or view that was hashed, by its inode: the fault, or null */
    json_t *report;
    uint32_t damaged;
} verification;

/* ---- one file ---- */

/* Why the file is not what it should be; "" it is. */
static void hash_and_compare(verification *v, const char *path, const manifest_file *file, char *ret_fault, size_t cap)
{
    digest found;
    char git[GIT_HEX + 1];
    tn_error err = TN_ERROR_INIT;
    struct stat entry;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    ret_fault[0] = '\0';
    if (fd < 0 || fstat(fd, &entry) != 0)
        snprintf(ret_fault, cap, "%s", strerror(errno));
    else if (!S_ISREG(entry.st_mode) || (uint64_t)entry.st_size != file->bytes)
        snprintf(ret_fault, cap, "it has %" PRId64 " bytes, not %" PRIu64, (int64_t)entry.st_size, file->bytes);
    else if (hash_file(fd, path, file->bytes, &v->meter, &found, git, &err) != TN_OK)
        snprintf(ret_fault, cap, "%s", err.msg);
    else if (!digest_equal(&found, &file->digest))
        snprintf(ret_fault, cap, "its contents have changed");
    if (fd >= 0)
        close(fd);
}

/* The file at path, which was looked at already if it is one inode with another name. */
static const char *check_path(verification *v, const char *path, const manifest_file *file)
{
    struct stat entry;
    char key[DIGEST_HEX + 48], fault[512];

    if (lstat(path, &entry) != 0)
        return strerror(errno);
    snprintf(key, sizeof key, "%" PRIu64 ":%" PRIu64 ":%s", (uint64_t)entry.st_dev, (uint64_t)entry.st_ino,
             file->digest.hex);
    json_t *seen = json_object_get(v->seen, key);
    if (!seen) {
        hash_and_compare(v, path, file, fault, sizeof fault);
        json_object_set_new(v->seen, key, seen = json_string(fault));
    }
    const char *text = json_string_value(seen);
    return text && *text ? text : NULL;
}

static void note(json_t *damage, const char *path, const char *fault)
{
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "%.600s: %.300s", path, fault);
    json_array_append_new(damage, json_string(sentence));
}

static void check_file(verification *v, const digest *version, const manifest_file *file, json_t *damage)
{
    char path[PATH_MAX];
    const char *fault;

    store_blob_path(v->registry, &file->digest, path);
    if ((fault = check_path(v, path, file)))
        note(damage, path, fault);
    store_path(v->registry, path, "views/%s/%s", version->hex, file->name);
    if ((fault = check_path(v, path, file)))
        note(damage, path, fault);
}

/* ---- one version ---- */

static void open_as_loader(const verification *v, const manifest *manifest, json_t *damage)
{
    checkpoint *checkpoint = NULL;
    char view[PATH_MAX];
    tn_error err = TN_ERROR_INIT;

    store_path(v->registry, view, "views/%s", manifest->digest.hex);
    if (manifest_open_entry(view, manifest->entry, &checkpoint, &err) != TN_OK)
        json_array_append_new(damage, json_string(err.msg));
    checkpoint_close(checkpoint);
}

static tn_status verify_version(verification *v, const registered *version, tn_error *err)
{
    manifest manifest = {0};
    tn_error reason = TN_ERROR_INIT;
    json_t *damage = json_array();
    tn_status status = store_manifest(v->registry, &version->digest, &manifest, &reason);

    if (status == TN_OK) {
        for (uint32_t i = 0; i < manifest.file_count; i++)
            check_file(v, &version->digest, &manifest.files[i], damage);
        if (v->deep && json_array_size(damage) == 0)
            open_as_loader(v, &manifest, damage);
    } else {
        json_array_append_new(damage, json_string(reason.msg));
    }
    manifest_finish(&manifest);
    v->damaged += json_array_size(damage) > 0;
    json_t *entry = json_pack("{s:s, s:s, s:s, s:I, s:o}", "model", version->model, "version", version->version,
                              "digest", version->digest.hex, "bytes", (json_int_t)version->bytes, "damage", damage);
    if (status == TN_E_MEMORY || json_array_append_new(json_object_get(v->report, "versions"), entry) != 0)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a report");
    return TN_OK;
}

/* ---- all of them ---- */

static tn_status read_versions(registry *registry, registered **ret_versions, uint32_t *ret_count, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    registered *versions = NULL;
    uint32_t count = 0;
    bool row = true;
    tn_status status = index_prepare(registry->db, &statement, err,
                                     "SELECT model, name, digest, bytes FROM version ORDER BY model, number", "");

    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row) {
        registered *grown = realloc(versions, (count + 1) * sizeof *versions);
        if (!grown) {
            status = tn_fail(err, TN_E_MEMORY, "out of memory for %u versions", count + 1);
            break;
        }
        versions = grown;
        registered *version = &versions[count];
        snprintf(version->model, sizeof version->model, "%s", index_text(statement, 0));
        snprintf(version->version, sizeof version->version, "%s", index_text(statement, 1));
        version->bytes = (uint64_t)sqlite3_column_int64(statement, 3);
        if (digest_parse(index_text(statement, 2), &version->digest))
            count++;
        else
            status =
                tn_fail(err, TN_E_CORRUPT, "the index holds a bad digest of %s@%s", version->model, version->version);
    }
    sqlite3_finalize(statement);
    if (status != TN_OK) {
        free(versions);
        return status;
    }
    *ret_versions = versions;
    *ret_count = count;
    return TN_OK;
}

tn_status registry_verify(registry *registry, const char *reference, bool deep, const weights_progress *progress,
                          json_t **ret_report, tn_error *err)
{
    verification v = {.registry = registry, .deep = deep, .meter.progress = progress};
    registered one, *versions = NULL;
    uint32_t count = 1;

    tn_status status =
        reference ? registry_find(registry, reference, &one, err) : read_versions(registry, &versions, &count, err);
    if (status != TN_OK)
        return status;
    const registered *first = reference ? &one : versions;
    v.seen = json_object();
    v.report = json_pack("{s:[]}", "versions");
    for (uint32_t i = 0; i < count; i++)
        v.meter.total += first[i].bytes;
    for (uint32_t i = 0; i < count && status == TN_OK; i++)
        status = verify_version(&v, &first[i], err);
    if (status == TN_OK && json_object_set_new(v.report, "damaged", json_integer(v.damaged)) != 0)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a report");
    free(versions);
    json_decref(v.seen);
    if (status != TN_OK) {
        json_decref(v.report);
        return status;
    }
    *ret_report = v.report;
    return TN_OK;
}
