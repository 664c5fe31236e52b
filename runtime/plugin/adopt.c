/* runtime/plugin/adopt.c: see adopt.h. Costs one copy per table and load. */
#include "plugin/adopt.h"

#include <string.h>

enum { TABLE_BYTES_MAX = 4096 };

static int name_bytes(const adopt_table *table)
{
    return (int)strcspn(table->id, ":");
}

static tn_status fail_short(const adopt_table *table, const char *path, uint32_t size, const char *member,
                            tn_error *err)
{
    return tn_fail(err, TN_E_ARGUMENT,
                   "plugin %.200s: its %.*s table has struct_size %u and so ends before `%s`, which is mandatory: set "
                   "struct_size to the sizeof the table and fill in that member",
                   path, name_bytes(table), table->id, size, member);
}

static void fill_member(unsigned char *ours, const adopt_member *member, adopt_function function)
{
    memcpy(ours + member->offset, &function, sizeof function);
}

static tn_status adopt_member_into(const adopt_table *table, const adopt_member *member, const char *path,
                                   uint32_t size, unsigned char *ours, tn_error *err)
{
    adopt_function function = NULL;
    bool within = member->offset + sizeof function <= size;
    if (within)
        memcpy(&function, ours + member->offset, sizeof function);
    if (function)
        return TN_OK;
    if (member->mandatory && !within)
        return fail_short(table, path, size, member->name, err);
    if (member->mandatory)
        return tn_fail(err, TN_E_ARGUMENT, "plugin %.200s: its %.*s table lacks `%s`, which is mandatory: implement it",
                       path, name_bytes(table), table->id, member->name);
    fill_member(ours, member, member->stub);
    return TN_OK;
}

tn_status adopt(const adopt_table *table, const char *path, const void *theirs, void *ret_ours, tn_error *err)
{
    unsigned char ours[TABLE_BYTES_MAX] = {0};
    uint32_t size;
    TN_ASSERT(table->struct_size <= sizeof ours);
    TN_ASSERT(table->members_begin + table->member_count * sizeof(adopt_function) == table->struct_size);
    if (!theirs)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s: lists %s in `provides`, but its get_interface returns NULL for it: return the table "
            "or drop the id",
            path, table->id);
    memcpy(&size, theirs, sizeof size);
    if (size < table->members_begin)
        return fail_short(table, path, size, table->members[0].name, err);
    memcpy(ours, theirs, size < table->struct_size ? size : table->struct_size);
    for (uint32_t i = 0; i < table->member_count; i++) {
        tn_status status = adopt_member_into(table, &table->members[i], path, size, ours, err);
        if (status != TN_OK)
            return status;
    }
    memcpy(ours, &table->struct_size, sizeof table->struct_size);
    memcpy(ret_ours, ours, table->struct_size);
    return TN_OK;
}

tn_status adopt_check_need(const char *who, uint32_t need, uint32_t can, const adopt_need *names, uint32_t name_count,
                           tn_error *err)
{
    uint32_t missing = need & ~can;
    if (!missing)
        return TN_OK;
    for (uint32_t i = 0; i < name_count; i++) {
        if (missing & names[i].bit)
            return tn_fail(err, TN_E_UNSUPPORTED, "%s cannot honour %s, and must not ignore it", who, names[i].name);
    }
    return tn_fail(err, TN_E_UNSUPPORTED, "%s cannot honour need bits 0x%x, and must not ignore them", who, missing);
}
