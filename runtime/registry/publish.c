/* runtime/registry/publish.c: a staged version enters the store, and then the index.
 *
 * All of it happens under the index's write lock, so that nobody collects garbage meanwhile; the bytes are on the disk
 * before it begins. A process that dies before the commit leaves contents that no version names, which is garbage and
 * nothing worse; after it, the version is whole.
 */
#include "registry/store.h"

#include "base/utf8.h"
#include "file/directory.h"
#include "file/whole_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION_DIGITS_MAX = 15 }; /* of vN; there is no end to counting on from there */

static tn_status refuse(const char *path, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
}

/* ---- the store ---- */

static bool is_one_file(const char *a, const char *b)
{
    struct stat first, second;
    return lstat(a, &first) == 0 && lstat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* Under the name `to` lies the staged file from now on, whatever was there. */
static tn_status put_over(const staging *staging, const char *path, const char *to, tn_error *err)
{
    char beside[PATH_MAX];

    if (is_one_file(path, to))
        return TN_OK;
    snprintf(beside, sizeof beside, "%.3000s/shared", staging->path);
    unlink(beside);
    return link(path, beside) == 0 && rename(beside, to) == 0 ? TN_OK : refuse(to, err);
}

/* What stands under the name and is not the staged file itself is damaged, or came while that was being made. The
 * staged one was hashed just now, so it is the one that stays. */
static tn_status place_blob(const staging *staging, const char *path, const digest *digest, tn_error *err)
{
    char blob[PATH_MAX];

    store_blob_path(staging->registry, digest, blob);
    if (link(path, blob) == 0)
        return TN_OK;
    return errno == EEXIST ? put_over(staging, path, blob, err) : refuse(blob, err);
}

static tn_status place_blobs(staging *staging, const manifest *manifest, tn_error *err)
{
    char path[PATH_MAX];
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < manifest->file_count && status == TN_OK; i++) {
        const manifest_file *file = &manifest->files[i];
        status = staging_file_path(staging, file->name, path, err);
        if (status == TN_OK)
            status = place_blob(staging, path, &file->digest, err);
    }
    if (status != TN_OK)
        return status;
    snprintf(path, sizeof path, "%.3000s/manifest", staging->path);
    status = place_blob(staging, path, &manifest->digest, err);
    store_path(staging->registry, path, "blobs/sha256");
    return status == TN_OK ? directory_sync(path, err) : status;
}

/* A view that somebody may be using gets the staged files one by one, so that none is missing at any moment. */
static tn_status refresh_view(staging *staging, const manifest *manifest, const char *view, tn_error *err)
{
    char path[PATH_MAX], to[PATH_MAX];
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < manifest->file_count && status == TN_OK; i++) {
        const char *name = manifest->files[i].name;
        store_path(staging->registry, to, "views/%s/%s", manifest->digest.hex, name);
        status = staging_file_path(staging, name, path, err);
        if (status == TN_OK)
            status = directory_make_parents(to, err);
        if (status == TN_OK)
            status = put_over(staging, path, to, err);
    }
    return status == TN_OK ? directory_sync_tree(view, err) : status;
}

/* A view that is there already is a whole one if the index knows it, and else what a killed process left. */
static tn_status place_view(staging *staging, const manifest *manifest, bool known, tn_error *err)
{
    char files[PATH_MAX], view[PATH_MAX], views[PATH_MAX];
    struct stat entry;
    tn_status status = TN_OK;

    store_path(staging->registry, view, "views/%s", manifest->digest.hex);
    if (known && stat(view, &entry) == 0)
        return refresh_view(staging, manifest, view, err);
    staging_directory(staging, files);
    status = directory_remove(view, err);
    if (status == TN_OK && rename(files, view) != 0)
        status = refuse(view, err);
    store_path(staging->registry, views, "views");
    return status == TN_OK ? directory_sync(views, err) : status;
}

static tn_status write_manifest(const staging *staging, const manifest *manifest, tn_error *err)
{
    whole_file file;
    tn_status status = whole_file_begin(&file, staging->path, "manifest", err);

    if (status == TN_OK)
        status = whole_file_write(&file, manifest->text, manifest->text_bytes, err);
    if (status == TN_OK && fchmod(file.fd, 0444) != 0)
        status = refuse(file.path, err);
    if (status == TN_OK)
        return whole_file_end(&file, err);
    whole_file_abandon(&file);
    return status;
}

/* ---- the index ---- */

static tn_status row_exists(sqlite3 *db, bool *ret_exists, tn_error *err, const char *sql, const char *a, const char *b)
{
    sqlite3_stmt *statement = NULL;
    tn_status status = index_prepare(db, &statement, err, sql, "tt", a, b);

    if (status == TN_OK)
        status = index_step(statement, ret_exists, err);
    sqlite3_finalize(statement);
    return status;
}

/* v1, v2, ...: the next that nobody has had, whether it was chosen here or given, since names that return with other
 * contents mislead. */
static tn_status next_version(sqlite3 *db, const char *model, char ret_version[NAME_BYTES_MAX + 1], int64_t *ret_number,
                              tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false, taken = true;
    tn_status status = index_prepare(db, &statement, err, "SELECT last_number FROM model WHERE name = ?1", "t", model);

    if (status == TN_OK)
        status = index_step(statement, &row, err);
    *ret_number = status == TN_OK && row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    while (status == TN_OK && taken) {
        snprintf(ret_version, NAME_BYTES_MAX + 1, "v%" PRId64, ++*ret_number);
        status =
            row_exists(db, &taken, err, "SELECT 1 FROM version WHERE model = ?1 AND name = ?2", model, ret_version);
    }
    return status;
}

/* The N of a version that is called vN; 0: it has another name. */
static int64_t number_of(const char *version)
{
    char again[NAME_BYTES_MAX + 1];
    int64_t number =
        version[0] == 'v' && strlen(version) <= VERSION_DIGITS_MAX + 1 ? strtoll(version + 1, NULL, 10) : 0;

    snprintf(again, sizeof again, "v%" PRId64, number);
    return strcmp(again, version) == 0 ? number : 0;
}

static tn_status insert_pairs(sqlite3 *db, const registration *r, const char *version, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < r->tag_count && status == TN_OK; i++)
        status = index_run(db, err, "INSERT OR REPLACE INTO tag VALUES (?1, ?2, ?3, ?4)", "tttt", r->model, version,
                           r->tags[i].key, r->tags[i].text);
    for (uint32_t i = 0; i < r->metric_count && status == TN_OK; i++)
        status = index_run(db, err, "INSERT OR REPLACE INTO metric VALUES (?1, ?2, ?3, ?4)", "tttd", r->model, version,
                           r->metrics[i].key, r->metrics[i].number);
    return status;
}

static tn_status insert_version(sqlite3 *db, const registration *r, const registered *version, int64_t number,
                                tn_error *err)
{
    tn_status status = index_run(db, err,
                                 "INSERT INTO model (name, created) VALUES (?1, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"
                                 " ON CONFLICT DO NOTHING",
                                 "t", r->model);
    if (status == TN_OK)
        status = index_run(db, err, "UPDATE model SET last_number = max(last_number, ?2) WHERE name = ?1", "ti",
                           r->model, number);
    if (status == TN_OK)
        status = index_run(
            db, err,
            "INSERT INTO version VALUES (?1, ?2, (SELECT coalesce(max(number), 0) + 1 FROM version WHERE model = ?1)"
            ", ?3, ?4, ?5, ?6, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
            "tttitt", r->model, version->version, version->digest.hex, (int64_t)version->bytes, r->task, r->comment);
    if (status == TN_OK && r->alias)
        status = index_run(db, err, "INSERT OR REPLACE INTO alias VALUES (?1, ?2, ?3)", "ttt", r->model, r->alias,
                           version->version);
    return status == TN_OK ? insert_pairs(db, r, version->version, err) : status;
}

static tn_status insert_files(sqlite3 *db, const manifest *manifest, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < manifest->file_count && status == TN_OK; i++)
        status = index_run(db, err, "INSERT OR REPLACE INTO file VALUES (?1, ?2, ?3, ?4)", "ttti", manifest->digest.hex,
                           manifest->files[i].name, manifest->files[i].digest.hex, (int64_t)manifest->files[i].bytes);
    return status;
}

/* ---- both ---- */

/* The index is shown as JSON, which is UTF-8. NULL is fine. */
static tn_status check_text(const char *what, const char *text, tn_error *err)
{
    return !text || utf8_is_valid(text, strlen(text)) ? TN_OK
                                                      : tn_fail(err, TN_E_ARGUMENT, "%.200s is not UTF-8", what);
}

static tn_status check_pairs(const registration *r, tn_error *err)
{
    char what[NAME_BYTES_MAX + 32];
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < r->tag_count && status == TN_OK; i++) {
        status = name_check("the tag", r->tags[i].key, err);
        if (status != TN_OK)
            break;
        snprintf(what, sizeof what, "the value of the tag %s", r->tags[i].key);
        status = check_text(what, r->tags[i].text, err);
    }
    for (uint32_t i = 0; i < r->metric_count && status == TN_OK; i++)
        status = name_check("the metric", r->metrics[i].key, err);
    return status;
}

tn_status registration_check(const registration *r, tn_error *err)
{
    tn_status status = name_check("the model name", r->model, err);
    if (status == TN_OK && r->version)
        status = name_check("the version", r->version, err);
    if (status == TN_OK && r->alias)
        status = name_check("the alias", r->alias, err);
    if (status == TN_OK)
        status = check_text("the task", r->task, err);
    if (status == TN_OK)
        status = check_text("the comment", r->comment, err);
    return status == TN_OK ? check_pairs(r, err) : status;
}

tn_status registration_insert(registry *registry, const registration *r, const manifest *manifest,
                              registered *ret_registered, tn_error *err)
{
    registered version = {.digest = manifest->digest, .bytes = manifest->bytes};
    int64_t number = 0;
    bool taken = false;
    tn_status status = TN_OK;

    snprintf(version.model, sizeof version.model, "%s", r->model);
    if (r->version) {
        snprintf(version.version, sizeof version.version, "%s", r->version);
        number = number_of(r->version);
    } else {
        status = next_version(registry->db, r->model, version.version, &number, err);
    }
    if (status == TN_OK)
        status = row_exists(registry->db, &taken, err, "SELECT 1 FROM version WHERE model = ?1 AND name = ?2", r->model,
                            version.version);
    if (status == TN_OK && taken)
        status =
            tn_fail(err, TN_E_ARGUMENT, "%s@%s is there already, and versions do not change; choose another --version",
                    r->model, version.version);
    if (status == TN_OK)
        status = insert_version(registry->db, r, &version, number, err);
    if (status == TN_OK)
        status = insert_files(registry->db, manifest, err);
    if (status == TN_OK)
        *ret_registered = version;
    return status;
}

tn_status staging_publish(staging *staging, const manifest *manifest, const registration *r, registered *ret_registered,
                          tn_error *err)
{
    char files[PATH_MAX];
    sqlite3 *db = staging->registry->db;
    bool known = false;
    tn_status status = registration_check(r, err);

    if (status == TN_OK)
        status = write_manifest(staging, manifest, err);
    staging_directory(staging, files);
    if (status == TN_OK)
        status = directory_sync_tree(files, err);
    if (status == TN_OK)
        status = index_begin_patiently(db, err);
    if (status != TN_OK)
        return status;
    status = row_exists(db, &known, err,
                        "SELECT 1 FROM version WHERE digest = ?1 UNION SELECT 1 FROM lease WHERE digest = ?2",
                        manifest->digest.hex, manifest->digest.hex);
    if (status == TN_OK)
        status = registration_insert(staging->registry, r, manifest, ret_registered, err);
    if (status == TN_OK)
        status = place_blobs(staging, manifest, err);
    if (status == TN_OK)
        status = place_view(staging, manifest, known, err);
    status = index_end(db, status, err);
    staging->kept = staging->kept && status != TN_OK;
    return status;
}
