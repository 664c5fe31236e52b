/* runtime/hub/hub_answer.c: see hub_answer.h. */
#include "hub/hub_answer.h"

#include "base/size.h"
#include "model/name_order.h"

#include <stdlib.h>
#include <string.h>

enum { SIBLINGS_MAX = 100000 };

static bool read_bytes(const json_t *value, uint64_t *ret_bytes)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret_bytes = (uint64_t)json_integer_value(value);
    return true;
}

static tn_status read_sibling(const char *where, const json_t *sibling, hub_file *file, tn_error *err)
{
    const json_t *lfs = json_object_get(sibling, "lfs");
    const char *name = json_string_value(json_object_get(sibling, "rfilename"));
    const char *git = json_string_value(json_object_get(sibling, "blobId"));
    const char *sha256 = json_string_value(json_object_get(lfs, "sha256"));

    if (!name)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the hub lists a file without a name", where);
    if (!read_bytes(json_object_get(sibling, "size"), &file->bytes))
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the hub does not say how large '%.100s' is", where, name);
    if (json_is_object(lfs) ? !is_hex(sha256, DIGEST_HEX) : !is_hex(git, GIT_HEX))
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the hub does not say what hash '%.100s' has", where, name);
    if (json_is_object(lfs))
        memcpy(file->sha256, sha256, DIGEST_HEX + 1);
    else
        memcpy(file->git, git, GIT_HEX + 1);
    file->name = name;
    return TN_OK;
}

static tn_status read_siblings(const char *where, const json_t *siblings, hub_answer *answer, tn_error *err)
{
    size_t count = json_array_size(siblings);
    tn_status status = TN_OK;

    if (count == 0 || count > SIBLINGS_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the hub lists no files, or more than %d", where, SIBLINGS_MAX);
    answer->files = calloc(count, sizeof *answer->files);
    if (!answer->files)
        return tn_fail(err, TN_E_MEMORY, "%.200s: out of memory for %zu files", where, count);
    for (size_t i = 0; i < count && status == TN_OK; i++) {
        status = read_sibling(where, json_array_get(siblings, i), &answer->files[i], err);
        answer->count += status == TN_OK;
    }
    return status;
}

tn_status hub_answer_parse(const char *where, const char *text, size_t bytes, hub_answer *ret_answer, tn_error *err)
{
    hub_answer parsed = {0};
    json_error_t error;

    parsed.json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!parsed.json)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the hub's answer is bad JSON at byte %d: %s", where, error.position,
                       error.text);
    const char *commit = json_string_value(json_object_get(parsed.json, "sha"));
    tn_status status = TN_OK;
    if (is_hex(commit, GIT_HEX))
        memcpy(parsed.commit, commit, sizeof parsed.commit);
    else
        status = tn_fail(err, TN_E_CORRUPT, "%.200s: the hub does not say which commit this is", where);
    if (status == TN_OK)
        status = read_siblings(where, json_object_get(parsed.json, "siblings"), &parsed, err);
    if (status != TN_OK) {
        hub_answer_finish(&parsed);
        return status;
    }
    *ret_answer = parsed;
    return TN_OK;
}

static tn_status check_twins(const hub_answer *answer, const char *where, tn_error *err)
{
    name_order order = {0};
    uint32_t twin = NAME_ORDER_NONE;
    tn_status status = name_order_init(&order, &answer->files[0].name, sizeof *answer->files, answer->count, &twin);

    name_order_finish(&order);
    if (status != TN_OK)
        return tn_fail(err, status, "%.200s: out of memory for %u names", where, answer->count);
    if (twin != NAME_ORDER_NONE)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the hub lists '%.100s' twice", where, answer->files[twin].name);
    return TN_OK;
}

tn_status hub_answer_choose(hub_answer *answer, const char *where, const file_choice *choice, tn_error *err)
{
    uint32_t count = 0;
    tn_status status = TN_OK;

    answer->bytes = 0;
    for (uint32_t i = 0; i < answer->count && status == TN_OK; i++) {
        const hub_file *file = &answer->files[i];
        if (is_hidden_name(file->name) || !file_choice_has(choice, file->name))
            continue;
        status = file_name_check(where, file->name, err);
        if (status == TN_OK && (!size_add(answer->bytes, file->bytes, &answer->bytes) || answer->bytes > INT64_MAX))
            status =
                tn_fail(err, TN_E_CORRUPT, "%.200s: the sizes of its files do not add up to a number of bytes", where);
        if (status == TN_OK)
            answer->files[count++] = *file;
    }
    if (status == TN_OK && (count == 0 || count > MODEL_FILES_MAX))
        status =
            tn_fail(err, TN_E_ARGUMENT, "%.200s: %u files are chosen; it takes 1 to %d", where, count, MODEL_FILES_MAX);
    if (status != TN_OK)
        return status;
    answer->count = count;
    return check_twins(answer, where, err);
}

void hub_answer_finish(hub_answer *answer)
{
    json_decref(answer->json);
    free(answer->files);
    memset(answer, 0, sizeof *answer);
}
