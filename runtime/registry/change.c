/* runtime/registry/change.c: rows of the index that change: aliases, defaults, leases, copies and removal. Each change
 * is one transaction; no file is touched.
 */
#include "registry/store.h"

#include <inttypes.h>
#include <string.h>

/* Finds, then runs a statement with (model, version, text); under the write lock, so that the version stays. */
static tn_status change_found(registry *registry, const char *reference, const char *sql, const char *text,
                              tn_error *err)
{
    registered found;
    tn_status status = index_begin(registry->db, err);

    if (status != TN_OK)
        return status;
    status = registry_find(registry, reference, &found, err);
    if (status == TN_OK)
        status = index_run(registry->db, err, sql, "ttt", found.model, found.version, text);
    return index_end(registry->db, status, err);
}

tn_status registry_set_alias(registry *registry, const char *reference, const char *alias, tn_error *err)
{
    tn_status status = name_check("the alias", alias, err);
    if (status != TN_OK)
        return status;
    return change_found(registry, reference, "INSERT OR REPLACE INTO alias (model, version, name) VALUES (?1, ?2, ?3)",
                        alias, err);
}

tn_status registry_unset_alias(registry *registry, const char *model, const char *alias, tn_error *err)
{
    tn_status status =
        index_run(registry->db, err, "DELETE FROM alias WHERE model = ?1 AND name = ?2", "tt", model, alias);
    if (status == TN_OK && sqlite3_changes(registry->db) == 0)
        status = tn_fail(err, TN_E_NOT_FOUND, "%.128s has no alias '%.128s'", model, alias);
    return status;
}

tn_status registry_set_default(registry *registry, const char *reference, tn_error *err)
{
    return change_found(registry, reference, "UPDATE model SET default_version = coalesce(?3, ?2) WHERE name = ?1",
                        NULL, err);
}

tn_status registry_copy(registry *registry, const char *reference, const registration *to, registered *ret_registered,
                        tn_error *err)
{
    registered from;
    manifest manifest = {0};
    tn_status status = registration_check(to, err);

    if (status == TN_OK)
        status = index_begin(registry->db, err);
    if (status != TN_OK)
        return status;
    status = registry_find(registry, reference, &from, err);
    if (status == TN_OK)
        status = store_manifest(registry, &from.digest, &manifest, err);
    if (status == TN_OK)
        status = registration_insert(registry, to, &manifest, ret_registered, err);
    manifest_finish(&manifest);
    return index_end(registry->db, status, err);
}

/* ---- removal ---- */

/* The holder of a lease on contents that, of all versions, only those about to be removed have. version NULL: all of
 * model. */
static tn_status check_leases(registry *registry, const char *model, const char *version, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    tn_status status = index_prepare(registry->db, &statement, err,
                                     "SELECT version.name, holder FROM lease JOIN version USING (digest) WHERE model = "
                                     "?1 AND (?2 IS NULL OR name = ?2)"
                                     " AND NOT EXISTS (SELECT 1 FROM version AS other WHERE other.digest = "
                                     "lease.digest AND NOT (other.model = ?1 AND"
                                     " (?2 IS NULL OR other.name = ?2))) LIMIT 1",
                                     "tt", model, version);

    if (status == TN_OK)
        status = index_step(statement, &row, err);
    if (status == TN_OK && row)
        status = tn_fail(err, TN_E_AGAIN, "%s@%s is in use by %.200s; end that first", model, index_text(statement, 0),
                         index_text(statement, 1));
    sqlite3_finalize(statement);
    return status;
}

static tn_status remove_rows(registry *registry, const char *model, const char *version, uint32_t *ret_count,
                             tn_error *err)
{
    tn_status status = check_leases(registry, model, version, err);

    if (status == TN_OK)
        status = index_run(registry->db, err, "DELETE FROM version WHERE model = ?1 AND (?2 IS NULL OR name = ?2)",
                           "tt", model, version);
    *ret_count = status == TN_OK ? (uint32_t)sqlite3_changes(registry->db) : 0;
    if (status == TN_OK)
        status = index_run(registry->db, err,
                           "UPDATE model SET default_version = NULL WHERE name = ?1 AND NOT EXISTS"
                           " (SELECT 1 FROM version WHERE model = ?1 AND name = default_version)",
                           "t", model);
    if (status == TN_OK)
        status = index_run(registry->db, err,
                           "DELETE FROM model WHERE name = ?1 AND NOT EXISTS"
                           " (SELECT 1 FROM version WHERE model = ?1)",
                           "t", model);
    return status;
}

tn_status registry_remove(registry *registry, const char *reference, uint32_t *ret_count, tn_error *err)
{
    bool all = strcspn(reference, "@:") == strlen(reference);
    registered found;
    tn_status status = index_begin(registry->db, err);

    if (status != TN_OK)
        return status;
    status = registry_find(registry, reference, &found, err);
    if (status == TN_OK)
        status = remove_rows(registry, found.model, all ? NULL : found.version, ret_count, err);
    return index_end(registry->db, status, err);
}

/* ---- leases ---- */

tn_status registry_lease(registry *registry, const char *holder, const digest *digest, tn_error *err)
{
    tn_status status = index_run(registry->db, err,
                                 "INSERT INTO lease SELECT ?1, ?2, strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"
                                 " WHERE EXISTS (SELECT 1 FROM version WHERE digest = ?1)"
                                 " ON CONFLICT DO UPDATE SET created = excluded.created",
                                 "tt", digest->hex, holder);
    if (status == TN_OK && sqlite3_changes(registry->db) == 0)
        status = tn_fail(err, TN_E_NOT_FOUND, "sha256:%s is not in the registry", digest->hex);
    return status;
}

tn_status registry_release(registry *registry, const char *holder, const digest *digest, tn_error *err)
{
    return index_run(registry->db, err, "DELETE FROM lease WHERE digest = ?1 AND holder = ?2", "tt", digest->hex,
                     holder);
}

static tn_status release_gone(registry *registry, lease_is_gone is_gone, void *ctx, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    tn_status status = index_prepare(registry->db, &statement, err, "SELECT digest, holder FROM lease", "");

    while (status == TN_OK && (status = index_step(statement, &row, err)) == TN_OK && row) {
        digest digest;
        snprintf(digest.hex, sizeof digest.hex, "%s", index_text(statement, 0));
        if (is_gone(ctx, index_text(statement, 1), &digest)) /* SQLite lets the row go that a statement is at */
            status = registry_release(registry, index_text(statement, 1), &digest, err);
    }
    sqlite3_finalize(statement);
    return status;
}

tn_status registry_release_gone(registry *registry, lease_is_gone is_gone, void *ctx, tn_error *err)
{
    tn_status status = index_begin(registry->db, err);

    return status == TN_OK ? index_end(registry->db, release_gone(registry, is_gone, ctx, err), err) : status;
}
