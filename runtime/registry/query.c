/* runtime/registry/query.c: what is in the registry: references found, versions listed and shown. */
#include "registry/store.h"

#include "base/edit_distance.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NEAR_NAMES_MAX = 256 };

/* ---- finding ---- */

static void free_names(char **names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(names[i]);
}

static tn_status refuse_model(registry *registry, const char *model, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    char *names[NEAR_NAMES_MAX];
    uint32_t count = 0;
    bool row = true;
    tn_status status = index_prepare(registry->db, &statement, err, "SELECT name FROM model", "");

    while (status == TN_OK && count < NEAR_NAMES_MAX && (status = index_step(statement, &row, err)) == TN_OK && row)
        if ((names[count] = strdup(index_text(statement, 0))))
            count++;
    sqlite3_finalize(statement);
    const char *nearest = status == TN_OK ? nearest_name(model, (const char *const *)names, count) : NULL;
    if (status == TN_OK)
        status = tn_fail(err, TN_E_NOT_FOUND, "there is no model '%s' in the registry%s%s%s", model,
                         nearest ? "; did you mean '" : " (`tenon registry list` shows what there is)",
                         nearest ? nearest : "", nearest ? "'?" : "");
    free_names(names, count);
    return status;
}

static tn_status refuse_version(registry *registry, const model_reference *reference, const char *text, tn_error *err)
{
    static const char versions[] = "SELECT name FROM version WHERE model = ?1 ORDER BY number DESC LIMIT 8";
    static const char aliases[] = "SELECT name FROM alias WHERE model = ?1 ORDER BY name LIMIT 8";
    sqlite3_stmt *statement = NULL;
    char known[256] = "";
    bool row = true;
    tn_status status =
        index_prepare(registry->db, &statement, err, reference->alias[0] ? aliases : versions, "t", reference->model);

    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", index_text(statement, 0));
    }
    sqlite3_finalize(statement);
    if (status != TN_OK)
        return status;
    return tn_fail(err, TN_E_NOT_FOUND, "'%.150s' is not in the registry; %s of %.64s: %.200s", text,
                   reference->alias[0] ? "aliases" : "versions", reference->model, known[0] ? known : "none");
}

static tn_status model_exists(registry *registry, const char *model, bool *ret_exists, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    tn_status status = index_prepare(registry->db, &statement, err, "SELECT 1 FROM model WHERE name = ?1", "t", model);
    if (status == TN_OK)
        status = index_step(statement, ret_exists, err);
    sqlite3_finalize(statement);
    return status;
}

static tn_status prepare_find(registry *registry, const model_reference *reference, sqlite3_stmt **ret_statement,
                              tn_error *err)
{
    static const char by_version[] = "SELECT name, digest, bytes FROM version WHERE model = ?1 AND name = ?2";
    static const char by_digest[] =
        "SELECT name, digest, bytes FROM version WHERE model = ?1 AND digest = ?2 ORDER BY number LIMIT 1";
    static const char by_alias[] =
        "SELECT version.name, digest, bytes FROM alias JOIN version ON version.model = alias.model"
        " AND version.name = alias.version WHERE alias.model = ?1 AND alias.name = ?2";
    static const char by_default[] =
        "SELECT version.name, digest, bytes FROM version JOIN model ON model.name = version.model WHERE model = ?1"
        " ORDER BY version.name = default_version DESC, number DESC LIMIT 1";

    if (reference->version[0])
        return index_prepare(registry->db, ret_statement, err, by_version, "tt", reference->model, reference->version);
    if (reference->digest[0])
        return index_prepare(registry->db, ret_statement, err, by_digest, "tt", reference->model, reference->digest);
    if (reference->alias[0])
        return index_prepare(registry->db, ret_statement, err, by_alias, "tt", reference->model, reference->alias);
    return index_prepare(registry->db, ret_statement, err, by_default, "t", reference->model);
}

tn_status registry_find(registry *registry, const char *text, registered *ret_registered, tn_error *err)
{
    model_reference reference;
    sqlite3_stmt *statement = NULL;
    registered found = {0};
    bool row = false, model = false;

    tn_status status = model_reference_parse(text, &reference, err);
    if (status == TN_OK)
        status = prepare_find(registry, &reference, &statement, err);
    if (status == TN_OK)
        status = index_step(statement, &row, err);
    if (status == TN_OK && row) {
        snprintf(found.model, sizeof found.model, "%s", reference.model);
        snprintf(found.version, sizeof found.version, "%s", index_text(statement, 0));
        found.bytes = (uint64_t)sqlite3_column_int64(statement, 2);
        if (!digest_parse(index_text(statement, 1), &found.digest))
            status = tn_fail(err, TN_E_CORRUPT, "%.200s: the index holds a bad digest of %s@%s", registry->root,
                             found.model, found.version);
    }
    sqlite3_finalize(statement);
    if (status == TN_OK && !row)
        status = model_exists(registry, reference.model, &model, err);
    if (status == TN_OK && !row)
        return model ? refuse_version(registry, &reference, text, err) : refuse_model(registry, reference.model, err);
    if (status == TN_OK)
        *ret_registered = found;
    return status;
}

tn_status registry_resolve(const char *root, const char *reference, char ret_path[PATH_MAX], registered *ret_registered,
                           tn_error *err)
{
    registry *registry = NULL;
    manifest manifest = {0};
    struct stat entry;
    char path[PATH_MAX];

    tn_status status = registry_open(root, false, &registry, err);
    if (status == TN_OK)
        status = registry_find(registry, reference, ret_registered, err);
    if (status == TN_OK)
        status = store_manifest(registry, &ret_registered->digest, &manifest, err);
    if (status == TN_OK) {
        const char *file = manifest.entry;
        store_path(registry, path, "views/%s%s%s", manifest.digest.hex, file[0] ? "/" : "", file);
        if (stat(path, &entry) != 0)
            status =
                tn_fail(err, TN_E_CORRUPT, "%.300s: %s; the store is damaged (`tenon registry verify` says how far)",
                        path, strerror(errno));
    }
    if (status == TN_OK)
        memcpy(ret_path, path, sizeof path);
    manifest_finish(&manifest);
    registry_close(registry);
    return status;
}

/* ---- listing ---- */

/* {key: value} of the tags or metrics of a version. */
static tn_status read_pairs(registry *registry, const char *sql, const char *model, const char *version, json_t *to,
                            tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    tn_status status = index_prepare(registry->db, &statement, err, sql, "tt", model, version);

    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row) {
        bool number = sqlite3_column_type(statement, 1) == SQLITE_FLOAT;
        if (json_object_set_new(to, index_text(statement, 0),
                                number ? json_real(sqlite3_column_double(statement, 1))
                                       : json_string(index_text(statement, 1))) != 0) {
            status = tn_fail(err, TN_E_MEMORY, "out of memory for a version");
            break;
        }
    }
    sqlite3_finalize(statement);
    return status;
}

static tn_status read_aliases(registry *registry, const char *model, const char *version, json_t *to, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;
    tn_status status =
        index_prepare(registry->db, &statement, err,
                      "SELECT name FROM alias WHERE model = ?1 AND version = ?2 ORDER BY name", "tt", model, version);
    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row)
        if (json_array_append_new(to, json_string(index_text(statement, 0))) != 0) {
            status = tn_fail(err, TN_E_MEMORY, "out of memory for a version");
            break;
        }
    sqlite3_finalize(statement);
    return status;
}

static json_t *text_or_null(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? json_string(text) : json_null();
}

/* The columns of VERSION_COLUMNS and what hangs on them. */
#define VERSION_COLUMNS "name, digest, bytes, task, comment, created, model"
static tn_status read_version(registry *registry, sqlite3_stmt *statement, json_t **ret_version, tn_error *err)
{
    json_t *tags = json_object(), *metrics = json_object(), *aliases = json_array();
    const char *model = index_text(statement, 6), *name = index_text(statement, 0);

    tn_status status = read_pairs(registry, "SELECT key, value FROM tag WHERE model = ?1 AND version = ?2 ORDER BY key",
                                  model, name, tags, err);
    if (status == TN_OK)
        status = read_pairs(registry, "SELECT key, value FROM metric WHERE model = ?1 AND version = ?2 ORDER BY key",
                            model, name, metrics, err);
    if (status == TN_OK)
        status = read_aliases(registry, model, name, aliases, err);
    json_t *version = json_pack("{s:s, s:s, s:I, s:o, s:o, s:s, s:o, s:o, s:o}", "version", name, "digest",
                                index_text(statement, 1), "bytes", (json_int_t)sqlite3_column_int64(statement, 2),
                                "task", text_or_null(statement, 3), "comment", text_or_null(statement, 4), "created",
                                index_text(statement, 5), "aliases", aliases, "tags", tags, "metrics", metrics);
    if (status == TN_OK && !version)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a version");
    if (status != TN_OK) {
        json_decref(version);
        return status;
    }
    *ret_version = version;
    return TN_OK;
}

static tn_status list_versions(registry *registry, const char *model, json_t *to, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    json_t *version;
    bool row = true;
    tn_status status =
        index_prepare(registry->db, &statement, err,
                      "SELECT " VERSION_COLUMNS " FROM version WHERE model = ?1 ORDER BY number", "t", model);

    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row) {
        status = read_version(registry, statement, &version, err);
        if (status == TN_OK && json_array_append_new(to, version) != 0)
            status = tn_fail(err, TN_E_MEMORY, "out of memory for a list");
    }
    sqlite3_finalize(statement);
    return status;
}

static tn_status list_model(registry *registry, const char *model, json_t *to, tn_error *err)
{
    json_t *versions = json_array();
    registered chosen;
    tn_status status = registry_find(registry, model, &chosen, err);

    if (status == TN_OK)
        status = list_versions(registry, model, versions, err);
    json_t *listed = json_pack("{s:s, s:s, s:o}", "name", model, "default", status == TN_OK ? chosen.version : "",
                               "versions", versions);
    if (status == TN_OK && json_array_append(to, listed) != 0)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a list");
    json_decref(listed);
    return status;
}

static tn_status list_models(registry *registry, const char *model, json_t *to, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = true;

    if (model)
        return list_model(registry, model, to, err);
    tn_status status = index_prepare(registry->db, &statement, err, "SELECT name FROM model ORDER BY name", "");
    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row)
        status = list_model(registry, index_text(statement, 0), to, err);
    sqlite3_finalize(statement);
    return status;
}

/* In one transaction, so that what is listed was there at one moment. */
tn_status registry_list(registry *registry, const char *model, json_t **ret_list, tn_error *err)
{
    json_t *models = json_array();
    tn_status status = model ? name_check("the model name", model, err) : TN_OK;

    if (status == TN_OK)
        status = index_run(registry->db, err, "BEGIN", "");
    if (status == TN_OK)
        status = index_end(registry->db, list_models(registry, model, models, err), err);
    json_t *list = json_pack("{s:o}", "models", models);
    if (status == TN_OK && !list)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a list");
    if (status != TN_OK) {
        json_decref(list);
        return status;
    }
    *ret_list = list;
    return TN_OK;
}

static tn_status show_version(registry *registry, const char *reference, json_t **ret_version, tn_error *err)
{
    registered found;
    manifest manifest = {0};
    sqlite3_stmt *statement = NULL;
    json_t *version = NULL;
    char view[PATH_MAX];
    bool row = false;

    tn_status status = registry_find(registry, reference, &found, err);
    if (status == TN_OK)
        status = index_prepare(registry->db, &statement, err,
                               "SELECT " VERSION_COLUMNS " FROM version WHERE model = ?1 AND name = ?2", "tt",
                               found.model, found.version);
    if (status == TN_OK)
        status = index_step(statement, &row, err);
    TN_ASSERT(status != TN_OK || row); /* it was found in the same transaction */
    if (status == TN_OK)
        status = read_version(registry, statement, &version, err);
    sqlite3_finalize(statement);
    if (status == TN_OK)
        status = store_manifest(registry, &found.digest, &manifest, err);
    if (status == TN_OK) {
        store_path(registry, view, "views/%s%s%s", found.digest.hex, manifest.entry[0] ? "/" : "", manifest.entry);
        if (json_object_set_new(version, "name", json_string(found.model)) != 0 ||
            json_object_set_new(version, "path", utf8_is_valid(view, strlen(view)) ? json_string(view) : json_null()) !=
                0 ||
            json_object_set(version, "manifest", manifest.json) != 0)
            status = tn_fail(err, TN_E_MEMORY, "out of memory for a version");
    }
    manifest_finish(&manifest);
    if (status != TN_OK) {
        json_decref(version);
        return status;
    }
    *ret_version = version;
    return TN_OK;
}

/* In one transaction, like a list. */
tn_status registry_show(registry *registry, const char *reference, json_t **ret_version, tn_error *err)
{
    json_t *version = NULL;
    tn_status status = index_run(registry->db, err, "BEGIN", "");

    if (status == TN_OK)
        status = index_end(registry->db, show_version(registry, reference, &version, err), err);
    if (status != TN_OK) {
        json_decref(version);
        return status;
    }
    *ret_version = version;
    return TN_OK;
}
