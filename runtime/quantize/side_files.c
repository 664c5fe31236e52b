/* runtime/quantize/side_files.c: see side_files.h. */
#include "quantize/side_files.h"

#include "base/json_text.h"
#include "file/whole_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- config.json ---- */

static tn_status load_config(const tn_source *source, json_t **ret_config, tn_error *err)
{
    tn_meta text = {.struct_size = sizeof text};
    json_error_t error;

    if (source->meta(source, "config.json", &text) != TN_OK || text.kind != TN_META_STRING)
        return tn_fail(err, TN_E_ARGUMENT, "%s: there is no config.json; give a model directory", source->path);
    *ret_config = json_text_load(text.string, text.count, JSON_REJECT_DUPLICATES, &error);
    if (!*ret_config)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: bad JSON at byte %d: %s", source->path, error.position,
                       error.text);
    if (json_is_object(json_object_get(*ret_config, "quantization_config"))) {
        json_decref(*ret_config);
        return tn_fail(err, TN_E_ARGUMENT, "%s: the checkpoint is quantized already; give the original", source->path);
    }
    return TN_OK;
}

tn_status side_files_check_config(const tn_source *source, tn_error *err)
{
    json_t *config;
    tn_status status = load_config(source, &config, err);
    if (status == TN_OK)
        json_decref(config);
    return status;
}

/* The dynamic scheme by which 8-bit methods expect their inputs. */
static json_t *inputs_by_token(const char *type)
{
    return json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", 8, "type", type, "symmetric", 1, "strategy", "token",
                     "dynamic", 1);
}

/* Adds a module that stays as it is, once. Experts go by their layer's name, as loaders that fuse them ask for it. */
static bool add_kept(json_t *names, const char *tensor)
{
    const char *experts = strstr(tensor, ".experts"), *dot = strrchr(tensor, '.');
    size_t bytes = experts ? (size_t)(experts - tensor) + strlen(".experts") : (size_t)(dot ? dot - tensor : 0);
    json_t *last = json_array_get(names, json_array_size(names) - 1), *name = json_stringn(tensor, bytes);

    if (bytes == 0 || (last && name && json_equal(last, name))) {
        json_decref(name);
        return true;
    }
    return json_array_append_new(names, name) == 0;
}

/* The head, which a file may hold as the embedding only; routers and experts. */
static json_t *kept_modules(const shard_plan *plan)
{
    json_t *names = json_pack("[s]", "lm_head");
    bool whole = names != NULL;

    for (uint32_t i = 0; i < plan->item_count && whole; i++) {
        const shard_item *item = &plan->items[i];
        if (!item->type && !item->embedding && item->tensor.rank > 1 && strcmp(item->tensor.name, "lm_head.weight") != 0)
            whole = add_kept(names, item->tensor.name);
    }
    if (whole)
        return names;
    json_decref(names);
    return NULL;
}

static json_t *awq_config(const shard_plan *plan)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:b, s:o}", "quant_method", "awq", "version", "gemm", "bits", 4,
                     "group_size", (int)plan->group_size, "zero_point", 1, "modules_to_not_convert",
                     kept_modules(plan));
}

static json_t *compressed_config(const quantize_request *request, const shard_plan *plan)
{
    bool int4 = request->method == QUANTIZE_INT4, fp8 = request->method == QUANTIZE_FP8;
    const char *type = fp8 ? "float" : "int", *format = int4  ? "pack-quantized"
                                                        : fp8 ? "float-quantized"
                                                              : "int-quantized";
    json_t *weights = json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", int4 ? 4 : 8, "type", type, "symmetric", 1,
                                "strategy", int4 ? "group" : "channel", "dynamic", 0);
    if (int4 && weights)
        json_object_set_new(weights, "group_size", json_integer(plan->group_size));
    json_t *group =
        json_pack("{s:[s], s:o, s:o, s:n, s:s}", "targets", "Linear", "weights", weights, "input_activations",
                  int4 ? json_null() : inputs_by_token(type), "output_activations", "format", format);
    return json_pack("{s:s, s:s, s:s, s:o, s:n, s:{s:o}}", "quant_method", "compressed-tensors", "format", format,
                     "quantization_status", "compressed", "ignore", kept_modules(plan), "kv_cache_scheme",
                     "config_groups", "group_0", group);
}

tn_status side_files_write_config(const quantize_request *request, const tn_source *source, const shard_plan *plan,
                                  tn_error *err)
{
    json_t *config;
    tn_status status = load_config(source, &config, err);

    if (status != TN_OK)
        return status;
    json_t *settings = request->method == QUANTIZE_AWQ ? awq_config(plan) : compressed_config(request, plan);
    int set = json_object_set_new(config, "quantization_config", settings);
    char *text = set == 0 ? json_dumps(config, JSON_INDENT(2)) : NULL;
    status =
        text ? whole_file_put(request->destination, "config.json", text, strlen(text), err) : tn_fail(err, TN_E_MEMORY, "config.json");
    free(text);
    json_decref(config);
    return status;
}

/* ---- the rest ---- */

static bool ends_with(const char *name, const char *ending)
{
    size_t bytes = strlen(name), tail = strlen(ending);
    return bytes >= tail && strcmp(name + bytes - tail, ending) == 0;
}

static bool is_side_file(const char *name)
{
    static const char *const weights[] = {".safetensors", ".safetensors.index.json",
                                          ".bin",         ".bin.index.json",
                                          ".pt",          ".pth",
                                          ".gguf",        ".h5",
                                          ".msgpack",     ".onnx",
                                          ".partial"};
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        if (ends_with(name, weights[i]))
            return false;
    return name[0] != '.' && strcmp(name, "config.json") != 0;
}

static tn_status copy_bytes(int from, whole_file *to, tn_error *err)
{
    char buffer[1 << 16];
    ssize_t count;
    tn_status status = TN_OK;

    while (status == TN_OK && (count = read(from, buffer, sizeof buffer)) != 0) {
        if (count < 0 && errno != EINTR)
            return tn_fail(err, TN_E_IO, "%.400s: %s", to->path, strerror(errno));
        if (count > 0)
            status = whole_file_write(to, buffer, (uint64_t)count, err);
    }
    return status;
}

static tn_status copy_file(const quantize_request *request, int directory, const char *name, tn_error *err)
{
    whole_file to;
    struct stat entry;
    int from = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (from < 0)
        return tn_fail(err, TN_E_IO, "%s/%s: %s", request->source, name, strerror(errno));
    if (fstat(from, &entry) != 0 || !S_ISREG(entry.st_mode)) {
        close(from);
        return TN_OK;
    }
    tn_status status = whole_file_begin(&to, request->destination, name, err);
    if (status == TN_OK)
        status = copy_bytes(from, &to, err);
    if (status == TN_OK)
        status = whole_file_end(&to, err);
    else
        whole_file_abandon(&to);
    close(from);
    return status;
}

tn_status side_files_copy(const quantize_request *request, tn_error *err)
{
    DIR *directory = opendir(request->source);
    struct dirent *entry;
    tn_status status = TN_OK;

    if (!directory)
        return tn_fail(err, TN_E_IO, "%s: %s", request->source, strerror(errno));
    while (status == TN_OK && (entry = readdir(directory)))
        if (is_side_file(entry->d_name))
            status = copy_file(request, dirfd(directory), entry->d_name, err);
    closedir(directory);
    return status;
}
