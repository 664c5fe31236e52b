/* runtime/registry/manifest_create.c: a manifest written: which file the loader opens, and what that checkpoint holds.
 */
#include "registry/manifest.h"

#include "model/dtype.h"
#include "registry/name_rule.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { README_BYTES = 4096, LICENSE_BYTES = 64 };

/* ---- what the loader opens ---- */

static bool ends_with(const char *name, const char *ending)
{
    size_t bytes = strlen(name), tail = strlen(ending);
    return bytes > tail && strcmp(name + bytes - tail, ending) == 0;
}

static const manifest_file *find(const manifest_file *files, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

tn_status manifest_choose_entry(const manifest_file *files, uint32_t count, const char **ret_entry, tn_error *err)
{
    const char *ggufs[2] = {NULL, NULL};
    uint32_t gguf_count = 0;

    if (find(files, count, "model.safetensors") || find(files, count, "model.safetensors.index.json")) {
        *ret_entry = "";
        return TN_OK;
    }
    for (uint32_t i = 0; i < count; i++)
        if (ends_with(files[i].name, ".gguf") && gguf_count++ < 2)
            ggufs[gguf_count - 1] = files[i].name;
    if (gguf_count == 0)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "there is no model here: neither model.safetensors (or its index) nor a GGUF file among the %u files",
            count);
    if (gguf_count > 1)
        return tn_fail(err, TN_E_ARGUMENT,
                       "there are %u GGUF files, '%.100s' and '%.100s' among them; choose one with --include 'PATTERN'",
                       gguf_count, ggufs[0], ggufs[1]);
    *ret_entry = ggufs[0];
    return TN_OK;
}

/* ---- what it holds ---- */

static json_t *dtype_totals(const tn_source *source)
{
    json_t *totals = json_object();

    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        source->tensor_at(source, i, &tensor);
        const dtype_info *type = dtype_find(tensor.dtype);
        json_int_t before = json_integer_value(json_object_get(totals, type->name));
        json_object_set_new(totals, type->name, json_integer(before + (json_int_t)tensor.bytes));
    }
    return totals;
}

static json_t *text_of(const tn_source *source, const char *key)
{
    tn_meta meta = {.struct_size = sizeof meta};
    if (source->meta(source, key, &meta) != TN_OK || meta.kind != TN_META_STRING)
        return json_null();
    json_t *text = json_stringn(meta.string, meta.count);
    return text ? text : json_null(); /* not UTF-8 */
}

/* The SHA-256 of a text in the metadata, of the first key that is there; null: none is. */
static json_t *digest_of_text(const tn_source *source, const char *const *keys)
{
    for (; *keys; keys++) {
        tn_meta meta = {.struct_size = sizeof meta};
        if (source->meta(source, *keys, &meta) != TN_OK || meta.kind != TN_META_STRING)
            continue;
        digest digest = digest_of_bytes(meta.string, meta.count);
        return json_string(digest.hex);
    }
    return json_null();
}

static json_t *chat_template_in(const json_t *tokenizer_config)
{
    const char *text = json_string_value(json_object_get(tokenizer_config, "chat_template"));
    if (!text)
        return json_null();
    digest digest = digest_of_bytes(text, strlen(text));
    return json_string(digest.hex);
}

static json_t *chat_template_digest(const tn_source *source)
{
    static const char *const keys[] = {"tokenizer.chat_template", "chat_template.jinja", NULL};
    tn_meta meta = {.struct_size = sizeof meta};
    json_t *found = digest_of_text(source, keys);

    if (json_is_null(found) && source->meta(source, "tokenizer_config.json", &meta) == TN_OK) {
        json_t *config = json_loadb(meta.string, meta.count, 0, NULL);
        found = chat_template_in(config);
        json_decref(config);
    }
    return found;
}

/* GGUF's name of the architecture, or model_type of config.json. */
static json_t *architecture_of(const tn_source *source)
{
    tn_meta meta = {.struct_size = sizeof meta};

    if (strcmp(source->container, "gguf") == 0)
        return text_of(source, "general.architecture");
    if (source->meta(source, "config.json", &meta) != TN_OK)
        return json_null();
    json_t *config = json_loadb(meta.string, meta.count, 0, NULL);
    json_t *type = json_object_get(config, "model_type");
    json_t *found = json_is_string(type) ? json_incref(type) : json_null();
    json_decref(config);
    return found;
}

/* "license: NAME" in the block between two lines "---" that a model card begins with. */
static json_t *license_of_card(const char *directory)
{
    char path[PATH_MAX], text[README_BYTES + 1], license[LICENSE_BYTES];
    json_t *found = NULL;

    if (snprintf(path, sizeof path, "%s/README.md", directory) >= (int)sizeof path)
        return json_null();
    FILE *card = fopen(path, "rb");
    if (!card)
        return json_null();
    text[fread(text, 1, README_BYTES, card)] = '\0';
    fclose(card);
    char *rest = NULL, *line = strtok_r(text, "\r\n", &rest);
    if (line && strcmp(line, "---") == 0)
        for (line = strtok_r(NULL, "\r\n", &rest); line && strcmp(line, "---") != 0;
             line = strtok_r(NULL, "\r\n", &rest))
            if (!found && sscanf(line, "license: %63s", license) == 1)
                found = json_string(license);
    return found ? found : json_null();
}

static json_t *describe(const checkpoint *checkpoint, const char *directory)
{
    static const char *const tokenizers[] = {"tokenizer.json", "tokenizer.model", "tokenizer.ggml.model", NULL};
    const tn_source *source = checkpoint_source(checkpoint);
    json_t *license = text_of(source, "general.license");

    if (json_is_null(license))
        license = license_of_card(directory);
    return json_pack("{s:s, s:o, s:i, s:I, s:o, s:o, s:o, s:o}", "container", source->container, "architecture",
                     architecture_of(source), "tensors", (int)source->tensor_count, "tensor_bytes",
                     (json_int_t)checkpoint_tensor_bytes(checkpoint), "dtypes", dtype_totals(source), "tokenizer",
                     digest_of_text(source, tokenizers), "chat_template", chat_template_digest(source), "license",
                     license);
}

/* ---- the text ---- */

/* NULL: out of memory. */
static json_t *file_list(const manifest_file *files, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        if (json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "name", files[i].name, "bytes",
                                                  (json_int_t)files[i].bytes, "sha256", files[i].digest.hex)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

tn_status manifest_open_entry(const char *directory, const char *entry, checkpoint **ret_checkpoint, tn_error *err)
{
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof path, "%s%s%s", directory, entry[0] ? "/" : "", entry);
    if (bytes < 0 || (size_t)bytes >= sizeof path)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", directory);
    return checkpoint_open(path, ret_checkpoint, err);
}

tn_status manifest_create(const char *directory, const manifest_file *files, uint32_t count, json_t *source,
                          manifest *ret_manifest, tn_error *err)
{
    checkpoint *checkpoint = NULL;
    const char *entry;
    char created[32];
    time_t now = time(NULL);
    struct tm utc;

    tn_status status = manifest_choose_entry(files, count, &entry, err);
    if (status == TN_OK)
        status = manifest_open_entry(directory, entry, &checkpoint, err);
    if (status != TN_OK)
        return status;
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *json = json_pack("{s:s, s:s, s:o, s:o, s:O, s:s}", "format", "tenon.model/1", "entry", entry, "files",
                             file_list(files, count), "model", describe(checkpoint, directory), "source", source,
                             "created", created);
    checkpoint_close(checkpoint);
    char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    json_decref(json);
    /* Parsed again, so that nothing is written that would not be read. */
    status = text ? manifest_parse("the manifest", text, strlen(text), ret_manifest, err)
                  : tn_fail(err, TN_E_MEMORY, "out of memory for the manifest");
    free(text);
    return status;
}
