/* runtime/batch/key_set.c: see key_set.h. */
#include "batch/key_set.h"

static tn_status refuse(sqlite3 *db, tn_error *err)
{
    return tn_fail(err, sqlite3_errcode(db) == SQLITE_NOMEM ? TN_E_MEMORY : TN_E_IO,
                   "the temporary table of keys (in TMPDIR): %s", db ? sqlite3_errmsg(db) : "out of memory");
}

tn_status key_set_create(key_set *ret_set, tn_error *err)
{
    static const char setup[] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;"
                                "CREATE TABLE seen (key TEXT PRIMARY KEY, place INTEGER) WITHOUT ROWID; BEGIN;";
    key_set set = {.db = NULL};

    if (sqlite3_open("", &set.db) != SQLITE_OK || sqlite3_exec(set.db, setup, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(set.db, "INSERT OR IGNORE INTO seen VALUES (?, ?)", -1, &set.add, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(set.db, "SELECT place FROM seen WHERE key = ?", -1, &set.find, NULL) != SQLITE_OK) {
        tn_status status = refuse(set.db, err);
        key_set_destroy(&set);
        return status;
    }
    *ret_set = set;
    return TN_OK;
}

tn_status key_set_add(key_set *set, const char *key, uint64_t place, uint64_t *ret_before, tn_error *err)
{
    int code;

    *ret_before = 0;
    sqlite3_reset(set->add);
    sqlite3_bind_text(set->add, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(set->add, 2, (sqlite3_int64)place);
    if (sqlite3_step(set->add) != SQLITE_DONE)
        return refuse(set->db, err);
    if (sqlite3_changes(set->db) == 1)
        return TN_OK;
    sqlite3_reset(set->find);
    sqlite3_bind_text(set->find, 1, key, -1, SQLITE_STATIC);
    code = sqlite3_step(set->find);
    if (code != SQLITE_ROW)
        return refuse(set->db, err);
    *ret_before = (uint64_t)sqlite3_column_int64(set->find, 0);
    return TN_OK;
}

void key_set_destroy(key_set *set)
{
    sqlite3_finalize(set->add);
    sqlite3_finalize(set->find);
    sqlite3_close(set->db);
    *set = (key_set){.db = NULL};
}
