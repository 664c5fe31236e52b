/* runtime/registry/verify.c: what is stored, against what was stored. Contents that versions share are hashed once. */
#include "registry/store.h"

#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FAULT_BYTES = 512 };

typedef struct verification {
    registry *registry;
    bool deep;
    meter meter;
    json_t *seen; /* owned: blob or view that was hashed, by its inode: the fault, or "" */
    json_t *report;
    uint32_t damaged;
} verification;

/* ---- one file ---- */

/* Why the file is not what it should be; "": it is. Memory that runs out says nothing about the file. */
static tn_status hash_and_compare(verification *v, const char *path, const manifest_file *file,
                                  char ret_fault[FAULT_BYTES], tn_error *err)
{
    digest found;
    char git[GIT_HEX + 1];
    tn_error reason = TN_ERROR_INIT;
    struct stat entry;
    tn_status status = TN_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    ret_fault[0] = '\0';
    if (fd < 0 || fstat(fd, &entry) != 0)
        snprintf(ret_fault, FAULT_BYTES, "%s", strerror(errno));
    else if (!S_ISREG(entry.st_mode) || (uint64_t)entry.st_size != file->bytes)
        snprintf(ret_fault, FAULT_BYTES, "it has %" PRId64 " bytes, not %" PRIu64, (int64_t)entry.st_size, file->bytes);
    else if ((status = hash_file(fd, path, file->bytes, &v->meter, &found, git, &reason)) != TN_OK)
        snprintf(ret_fault, FAULT_BYTES, "%s", reason.msg);
    else if (!digest_equal(&found, &file->digest))
        snprintf(ret_fault, FAULT_BYTES, "its contents have changed");
    if (fd >= 0)
        close(fd);
    return status == TN_E_MEMORY ? tn_fail(err, status, "%s", reason.msg) : TN_OK;
}

/* What is damaged is counted by what stands in `damage`, so it stands there or the report fails. */
static tn_status note(json_t *damage, const char *fault, tn_error *err)
{
    char sentence[1024];

    snprintf(sentence, sizeof sentence, "%s", fault);
    utf8_repair(sentence); /* a path may be anything, and be cut within a character; JSON is UTF-8 */
    return json_array_append_new(damage, json_string(sentence)) == 0
               ? TN_OK
               : tn_fail(err, TN_E_MEMORY, "out of memory for a report");
}

static tn_status note_file(json_t *damage, const char *path, const char *fault, tn_error *err)
{
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "%.600s: %.300s", path, fault);
    return note(damage, sentence, err);
}

/* The file at path, which was looked at already if it is one inode with another name. */
static tn_status check_path(verification *v, const char *path, const manifest_file *file, json_t *damage, tn_error *err)
{
    struct stat entry;
    char key[DIGEST_HEX + 48], fault[FAULT_BYTES];

    if (lstat(path, &entry) != 0)
        return note_file(damage, path, strerror(errno), err);
    snprintf(key, sizeof key, "%" PRIu64 ":%" PRIu64 ":%s", (uint64_t)entry.st_dev, (uint64_t)entry.st_ino,
             file->digest.hex);
    const char *seen = json_string_value(json_object_get(v->seen, key));
    if (!seen) {
        tn_status status = hash_and_compare(v, path, file, fault, err);
        if (status != TN_OK)
            return status;
        utf8_repair(fault);
        if (json_object_set_new(v->seen, key, json_string(fault)) != 0)
            return tn_fail(err, TN_E_MEMORY, "out of memory for a report");
        seen = fault;
    }
    return *seen ? note_file(damage, path, seen, err) : TN_OK;
}

static tn_status check_file(verification *v, const digest *version, const manifest_file *file, json_t *damage,
                            tn_error *err)
{
    char path[PATH_MAX];

    store_blob_path(v->registry, &file->digest, path);
    tn_status status = check_path(v, path, file, damage, err);
    store_path(v->registry, path, "views/%s/%s", version->hex, file->name);
    return status == TN_OK ? check_path(v, path, file, damage, err) : status;
}

/* ---- one version ---- */

static tn_status open_as_loader(const verification *v, const manifest *manifest, json_t *damage, tn_error *err)
{
    checkpoint *checkpoint = NULL;
    char view[PATH_MAX];
    tn_error reason = TN_ERROR_INIT;

    store_path(v->registry, view, "views/%s", manifest->digest.hex);
    tn_status status = manifest_open_entry(view, manifest->entry, &checkpoint, &reason);
    checkpoint_close(checkpoint);
    if (status == TN_E_MEMORY)
        return tn_fail(err, status, "%s", reason.msg);
    return status == TN_OK ? TN_OK : note(damage, reason.msg, err);
}

static tn_status check_version(verification *v, const registered *version, json_t *damage, tn_error *err)
{
    manifest manifest = {0};
    tn_error reason = TN_ERROR_INIT;
    tn_status status = store_manifest(v->registry, &version->digest, &manifest, &reason);

    if (status == TN_E_MEMORY)
        return tn_fail(err, status, "%s", reason.msg);
    if (status != TN_OK)
        return note(damage, reason.msg, err);
    for (uint32_t i = 0; i < manifest.file_count && status == TN_OK; i++)
        status = check_file(v, &version->digest, &manifest.files[i], damage, err);
    if (status == TN_OK && v->deep && json_array_size(damage) == 0)
        status = open_as_loader(v, &manifest, damage, err);
    manifest_finish(&manifest);
    return status;
}

static tn_status verify_version(verification *v, const registered *version, tn_error *err)
{
    json_t *damage = json_array();
    tn_status status = check_version(v, version, damage, err);

    v->damaged += json_array_size(damage) > 0;
    json_t *entry = json_pack("{s:s, s:s, s:s, s:I, s:o}", "model", version->model, "version", version->version,
                              "digest", version->digest.hex, "bytes", (json_int_t)version->bytes, "damage", damage);
    if (json_array_append_new(json_object_get(v->report, "versions"), entry) != 0 && status == TN_OK)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a report");
    return status;
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
