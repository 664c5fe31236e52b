/* runtime/registry/manifest.c: manifests read and checked. {"format": "tenon.model/1", "entry": NAME or "", "files":
 * [{"name", "bytes", "sha256"}], "model": {...}, "source": {...}, "created": TIME}; what else stands in it is kept and
 * not read.
 */
#include "registry/manifest.h"

#include "base/size.h"
#include "model/name_order.h"
#include "registry/name_rule.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static tn_status read_file(const char *where, json_t *entry, manifest_file *file, tn_error *err)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    json_t *bytes = json_object_get(entry, "bytes");

    if (!name)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: a file of the manifest has no name", where);
    tn_status status = file_name_check(where, name, err);
    if (status != TN_OK)
        return status;
    if (!json_is_integer(bytes) || json_integer_value(bytes) < 0)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: '%.100s': bytes is not a number of bytes", where, name);
    if (!digest_parse(json_string_value(json_object_get(entry, "sha256")), &file->digest))
        return tn_fail(err, TN_E_CORRUPT, "%.200s: '%.100s': sha256 is not 64 lower-case hexadecimal digits", where,
                       name);
    file->name = name;
    file->bytes = (uint64_t)json_integer_value(bytes);
    return TN_OK;
}

/* No name twice, and none that is a folder of another. */
static tn_status check_names(const char *where, const manifest *manifest, tn_error *err)
{
    name_order order = {0};
    uint32_t twin = NAME_ORDER_NONE;
    tn_status status =
        name_order_init(&order, &manifest->files[0].name, sizeof *manifest->files, manifest->file_count, &twin);

    if (status != TN_OK)
        status = tn_fail(err, status, "%.200s: out of memory for %u names", where, manifest->file_count);
    else if (twin != NAME_ORDER_NONE)
        status = tn_fail(err, TN_E_CORRUPT, "%.200s: '%.100s' is listed twice", where, manifest->files[twin].name);
    for (uint32_t i = 0; i < manifest->file_count && status == TN_OK; i++) {
        char folder[FILE_NAME_BYTES_MAX + 1];
        snprintf(folder, sizeof folder, "%s", manifest->files[i].name);
        for (char *slash; status == TN_OK && (slash = strrchr(folder, '/'));) {
            *slash = '\0';
            if (name_order_find(&order, folder) != NAME_ORDER_NONE)
                status = tn_fail(err, TN_E_CORRUPT, "%.200s: '%.100s' is a file and a folder", where, folder);
        }
    }
    name_order_finish(&order);
    return status;
}

static tn_status read_files(const char *where, json_t *list, manifest *manifest, tn_error *err)
{
    size_t count = json_array_size(list);
    tn_status status = TN_OK;

    if (count == 0 || count > MODEL_FILES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: files is not a list of 1 to %d files", where, MODEL_FILES_MAX);
    manifest->files = calloc(count, sizeof *manifest->files);
    if (!manifest->files)
        return tn_fail(err, TN_E_MEMORY, "%.200s: out of memory for %zu files", where, count);
    for (size_t i = 0; i < count && status == TN_OK; i++) {
        manifest_file *file = &manifest->files[manifest->file_count];
        status = read_file(where, json_array_get(list, i), file, err);
        if (status == TN_OK &&
            (!size_add(manifest->bytes, file->bytes, &manifest->bytes) || manifest->bytes > INT64_MAX))
            status =
                tn_fail(err, TN_E_CORRUPT, "%.200s: the sizes of its files do not add up to a number of bytes", where);
        manifest->file_count += status == TN_OK;
    }
    return status == TN_OK ? check_names(where, manifest, err) : status;
}

static bool has_file(const manifest *manifest, const char *name)
{
    for (uint32_t i = 0; i < manifest->file_count; i++)
        if (strcmp(manifest->files[i].name, name) == 0)
            return true;
    return false;
}

static tn_status read_json(const char *where, manifest *manifest, tn_error *err)
{
    json_t *json = manifest->json;
    const char *format = json_string_value(json_object_get(json, "format"));

    if (!format || strcmp(format, "tenon.model/1") != 0)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: format is '%.60s', not tenon.model/1", where, format ? format : "");
    manifest->entry = json_string_value(json_object_get(json, "entry"));
    if (!manifest->entry)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: entry is missing", where);
    if (!json_is_object(json_object_get(json, "model")) || !json_is_object(json_object_get(json, "source")) ||
        !json_is_string(json_object_get(json, "created")))
        return tn_fail(err, TN_E_CORRUPT, "%.200s: model, source or created is missing", where);
    tn_status status = read_files(where, json_object_get(json, "files"), manifest, err);
    if (status == TN_OK && manifest->entry[0] && !has_file(manifest, manifest->entry))
        status = tn_fail(err, TN_E_CORRUPT, "%.200s: entry '%.100s' is none of the files", where, manifest->entry);
    return status;
}

tn_status manifest_parse(const char *where, const char *text, size_t bytes, manifest *ret_manifest, tn_error *err)
{
    manifest parsed = {.text_bytes = bytes};
    json_error_t error;
    tn_status status = TN_OK;

    if (bytes > MANIFEST_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the manifest is larger than %d bytes", where, MANIFEST_BYTES_MAX);
    parsed.text = malloc(bytes + 1);
    if (!parsed.text)
        return tn_fail(err, TN_E_MEMORY, "%.200s: out of memory for the manifest", where);
    memcpy(parsed.text, text, bytes);
    parsed.text[bytes] = '\0';
    parsed.digest = digest_of_bytes(text, bytes);
    parsed.json = json_loadb(parsed.text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!parsed.json)
        status = tn_fail(err, TN_E_CORRUPT, "%.200s: the manifest is bad JSON at byte %d: %s", where, error.position,
                         error.text);
    if (status == TN_OK)
        status = read_json(where, &parsed, err);
    if (status != TN_OK) {
        manifest_finish(&parsed);
        return status;
    }
    *ret_manifest = parsed;
    return TN_OK;
}

void manifest_finish(manifest *manifest)
{
    json_decref(manifest->json);
    free(manifest->text);
    free(manifest->files);
    memset(manifest, 0, sizeof *manifest);
}
