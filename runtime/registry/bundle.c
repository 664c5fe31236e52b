/* runtime/registry/bundle.c: bundle.json: {"format", "model", "version", "manifest": "sha256:HEX", "task", "comment",
 * "tags": {}, "metrics": {}}, the last four may be missing.
 */
#include "registry/bundle.h"

#include "registry/store.h"

#include <string.h>

static tn_status read_text(const char *where, const json_t *json, const char *key, bool needed, const char **ret_text,
                           tn_error *err)
{
    const json_t *value = json_object_get(json, key);

    if ((!value || json_is_null(value)) && !needed)
        return TN_OK;
    *ret_text = json_string_value(value);
    return *ret_text ? TN_OK : tn_fail(err, TN_E_CORRUPT, "%.200s: " BUNDLE_NAME ": %s is not a text", where, key);
}

static tn_status read_pairs(const char *where, json_t *json, const char *name, bool numbers, registry_pair *pairs,
                            uint32_t *ret_count, tn_error *err)
{
    json_t *object = json_object_get(json, name), *value;
    const char *key;
    uint32_t count = 0;

    if (!object)
        return TN_OK;
    if (!json_is_object(object) || json_object_size(object) > BUNDLE_PAIRS_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: " BUNDLE_NAME ": %s is not an object of at most %d members", where,
                       name, BUNDLE_PAIRS_MAX);
    json_object_foreach(object, key, value)
    {
        if (numbers ? !json_is_number(value) : !json_is_string(value))
            return tn_fail(err, TN_E_CORRUPT, "%.200s: " BUNDLE_NAME ": %s: '%.100s' is not a %s", where, name, key,
                           numbers ? "number" : "text");
        pairs[count++] =
            (registry_pair){.key = key, .text = json_string_value(value), .number = json_number_value(value)};
    }
    *ret_count = count;
    return TN_OK;
}

static tn_status read_head(const char *where, bundle_head *head, tn_error *err)
{
    registration *r = &head->registration;
    const char *format = "", *manifest = "";
    tn_status status = read_text(where, head->json, "format", true, &format, err);

    if (status == TN_OK && strcmp(format, BUNDLE_FORMAT) != 0)
        status = tn_fail(err, TN_E_CORRUPT, "%.200s: format is '%.60s', not " BUNDLE_FORMAT, where, format);
    if (status == TN_OK)
        status = read_text(where, head->json, "model", true, &r->model, err);
    if (status == TN_OK)
        status = read_text(where, head->json, "version", true, &r->version, err);
    if (status == TN_OK)
        status = read_text(where, head->json, "task", false, &r->task, err);
    if (status == TN_OK)
        status = read_text(where, head->json, "comment", false, &r->comment, err);
    if (status == TN_OK)
        status = read_text(where, head->json, "manifest", true, &manifest, err);
    if (status == TN_OK && (strncmp(manifest, "sha256:", 7) != 0 || !digest_parse(manifest + 7, &head->manifest)))
        status = tn_fail(err, TN_E_CORRUPT,
                         "%.200s: " BUNDLE_NAME ": manifest is not sha256: and 64 hexadecimal digits", where);
    if (status == TN_OK)
        status = read_pairs(where, head->json, "tags", false, head->tags, &r->tag_count, err);
    if (status == TN_OK)
        status = read_pairs(where, head->json, "metrics", true, head->metrics, &r->metric_count, err);
    r->tags = head->tags;
    r->metrics = head->metrics;
    return status == TN_OK ? registration_check(r, err) : status;
}

tn_status bundle_head_parse(const char *where, const char *text, size_t bytes, bundle_head *ret_head, tn_error *err)
{
    json_error_t error;

    memset(ret_head, 0, sizeof *ret_head);
    ret_head->json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!ret_head->json)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: " BUNDLE_NAME ": bad JSON at byte %d: %s", where, error.position,
                       error.text);
    tn_status status = read_head(where, ret_head, err);
    if (status != TN_OK)
        bundle_head_finish(ret_head);
    return status;
}

void bundle_head_finish(bundle_head *head)
{
    json_decref(head->json);
    memset(head, 0, sizeof *head);
}
