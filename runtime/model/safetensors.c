/* runtime/model/safetensors.c: safetensors checkpoints: a file, a directory with model.safetensors, or a directory with
 * model.safetensors.index.json and the shards it names. The JSON and tokenizer files beside them become metadata
 * strings.
 *
 * Shard names come from the index, which is untrusted: only plain file names in the same directory are followed.
 * Every tensor the index promises must be in the shard it names, and no name may be in two shards.
 */
#include "model/safetensors_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME  "model.safetensors.index.json"

enum { SHARDS_MAX = 4096 };

static const char *const side_names[] = {
    "config.json",        "generation_config.json",  "tokenizer.json",    "tokenizer_config.json",
    "tokenizer.model",    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "quantize_config.json",    "quant_config.json",
};
enum { SIDE_COUNT = sizeof side_names / sizeof side_names[0] };

/* The files of one checkpoint while they are gathered. */
typedef struct gathering {
    safetensors_file *files; /* [capacity] */
    size_t count, capacity;
} gathering;

static void gathering_finish(gathering *set)
{
    for (size_t i = 0; i < set->count; i++)
        safetensors_file_close(&set->files[i]);
    free(set->files);
}

static tn_status gathering_init(gathering *set, size_t capacity, tn_error *err)
{
    set->files = calloc(capacity ? capacity : 1, sizeof *set->files);
    set->capacity = capacity;
    set->count = 0;
    return set->files ? TN_OK : tn_fail(err, TN_E_MEMORY, "%zu safetensors files", capacity);
}

static tn_status gather_map(gathering *set, const char *path, file_map map, tn_error *err)
{
    TN_ASSERT(set->count < set->capacity);
    tn_status status = safetensors_file_open(path, map, &set->files[set->count], err);
    if (status == TN_OK)
        set->count++;
    return status;
}

static tn_status gather_file(gathering *set, const char *path, tn_error *err)
{
    file_map map;
    tn_status status = file_map_open(path, &map, err);
    return status == TN_OK ? gather_map(set, path, map, err) : status;
}

/* Joins; NULL when memory is short. The caller frees. */
static char *path_join(const char *directory, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

/* ---- the shard index ---- */

static bool is_plain_shard_name(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(name), tail = sizeof suffix - 1;

    return length > tail && length <= 255 && name[0] != '.' && !strpbrk(name, "/\\") &&
           strcmp(name + length - tail, suffix) == 0;
}

/* Gathers the distinct shards of weight_map; shard_of (name -> number) remembers them. */
static tn_status gather_shards(gathering *set, const char *directory, const char *index_path, json_t *weight_map,
                               json_t *shard_of, tn_error *err)
{
    const char *tensor;
    json_t *value;

    json_object_foreach(weight_map, tensor, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !is_plain_shard_name(shard))
            return tn_fail(err, TN_E_CORRUPT,
                           "%s: the shard of tensor '%.100s' is not the plain name of a .safetensors file: '%.100s'",
                           index_path, tensor, shard ? shard : "(no string)");
        if (json_object_get(shard_of, shard))
            continue;
        if (set->count == set->capacity)
            return tn_fail(err, TN_E_CORRUPT, "%s: more than %zu shards", index_path, set->capacity);
        char *path = path_join(directory, shard);
        if (!path || json_object_set_new(shard_of, shard, json_integer((json_int_t)set->count)) != 0) {
            free(path);
            return tn_fail(err, TN_E_MEMORY, "%s", index_path);
        }
        tn_status status = gather_file(set, path, err);
        if (status == TN_E_NOT_FOUND)
            tn_fail(err, status, "%s: the shard is missing; " INDEX_NAME " needs it for tensor '%.100s'", path, tensor);
        free(path);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

static tn_status check_promises(const gathering *set, const char *index_path, json_t *weight_map, json_t *shard_of,
                                tn_error *err)
{
    const char *tensor;
    json_t *value;

    json_object_foreach(weight_map, tensor, value)
    {
        json_int_t number = json_integer_value(json_object_get(shard_of, json_string_value(value)));
        if (!json_object_get(set->files[number].header, tensor))
            return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%.100s' is not in the shard it names, '%.100s'", index_path,
                           tensor, json_string_value(value));
    }
    return TN_OK;
}

static tn_status gather_weight_map(gathering *set, const char *directory, const char *index_path, json_t *index,
                                   tn_error *err)
{
    json_t *weight_map = json_object_get(index, "weight_map");
    if (!json_is_object(weight_map) || json_object_size(weight_map) == 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: it has no weight_map object, or an empty one", index_path);

    size_t shards_max = json_object_size(weight_map) < SHARDS_MAX ? json_object_size(weight_map) : SHARDS_MAX;
    json_t *shard_of = json_object();
    tn_status status = shard_of ? TN_OK : tn_fail(err, TN_E_MEMORY, "%s", index_path);
    if (status == TN_OK)
        status = gathering_init(set, shards_max, err);
    if (status == TN_OK)
        status = gather_shards(set, directory, index_path, weight_map, shard_of, err);
    if (status == TN_OK)
        status = check_promises(set, index_path, weight_map, shard_of, err);
    json_decref(shard_of);
    return status;
}

static tn_status gather_index(gathering *set, const char *directory, const char *index_path, tn_error *err)
{
    file_map map;
    json_t *index = NULL;

    tn_status status = file_map_open(index_path, &map, err);
    if (status != TN_OK)
        return status;
    if (map.size > SAFETENSORS_JSON_BYTES_MAX)
        status = tn_fail(err, TN_E_CORRUPT, "%s: larger than %d bytes", index_path, SAFETENSORS_JSON_BYTES_MAX);
    if (status == TN_OK)
        status = safetensors_json_load(index_path, map.bytes, map.size, &index, err);
    if (status == TN_OK)
        status = gather_weight_map(set, directory, index_path, index, err);
    json_decref(index);
    file_map_close(&map);
    return status;
}

static tn_status gather_single(gathering *set, const char *path, tn_error *err)
{
    tn_status status = gathering_init(set, 1, err);
    return status == TN_OK ? gather_file(set, path, err) : status;
}

static tn_status gather_directory(gathering *set, const char *directory, tn_error *err)
{
    struct stat stat_buffer;
    char *single = path_join(directory, SINGLE_NAME), *index = path_join(directory, INDEX_NAME);
    tn_status status;

    if (!single || !index)
        status = tn_fail(err, TN_E_MEMORY, "%s", directory);
    else if (stat(single, &stat_buffer) == 0)
        status = gather_single(set, single, err);
    else if (stat(index, &stat_buffer) == 0)
        status = gather_index(set, directory, index, err);
    else
        status =
            tn_fail(err, TN_E_NOT_FOUND,
                    "%s: the directory has neither " SINGLE_NAME " nor " INDEX_NAME " (for GGUF, name the file itself)",
                    directory);
    free(single);
    free(index);
    return status;
}

/* ---- assembling ---- */

static tn_status add_side_file(checkpoint *view, const char *name, const char *path, tn_error *err)
{
    struct stat stat_buffer;
    if (stat(path, &stat_buffer) != 0)
        return errno == ENOENT ? TN_OK : tn_fail(err, TN_E_IO, "%s: %s", path, strerror(errno));

    file_map map;
    tn_status status = file_map_open(path, &map, err);
    if (status != TN_OK)
        return status;
    view->maps[view->map_count++] = map;
    meta_entry *entry = &view->metas[view->meta_count];
    entry->key = strdup(name);
    if (!entry->key)
        return tn_fail(err, TN_E_MEMORY, "%s", path);
    view->meta_count++;
    entry->value = (tn_meta){.struct_size = sizeof entry->value,
                             .kind = TN_META_STRING,
                             .count = map.size,
                             .string = (const char *)map.bytes};
    return TN_OK;
}

static tn_status add_side_files(checkpoint *view, const char *directory, tn_error *err)
{
    tn_status status = TN_OK;
    for (size_t i = 0; i < SIDE_COUNT && status == TN_OK; i++) {
        char *path = path_join(directory, side_names[i]);
        status = path ? add_side_file(view, side_names[i], path, err) : tn_fail(err, TN_E_MEMORY, "%s", side_names[i]);
        free(path);
    }
    return status;
}

/* Makes the checkpoint of the gathered files. directory NULL: no files beside them. */
static tn_status assemble(gathering *set, const char *path, const char *directory, checkpoint **ret_checkpoint,
                          tn_error *err)
{
    checkpoint *made = NULL;
    size_t tensors = 0;

    for (size_t i = 0; i < set->count; i++)
        tensors += set->files[i].tensor_count;
    if (tensors > CHECKPOINT_TENSORS_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: %zu tensors are beyond the limit of %d", path, tensors,
                       CHECKPOINT_TENSORS_MAX);
    tn_status status = checkpoint_create("safetensors", path, (uint32_t)set->count + SIDE_COUNT, (uint32_t)tensors,
                                         SIDE_COUNT, &made, err);
    for (size_t i = 0; i < set->count && status == TN_OK; i++)
        status = safetensors_file_add(&set->files[i], made, err);
    if (status == TN_OK && directory)
        status = add_side_files(made, directory, err);
    if (status == TN_OK)
        status = checkpoint_finish(made, err);
    if (status != TN_OK) {
        checkpoint_close(made);
        return status;
    }
    *ret_checkpoint = made;
    return TN_OK;
}

tn_status safetensors_open_memory(const char *path, const void *bytes, uint64_t size, checkpoint **ret_checkpoint,
                                  tn_error *err)
{
    gathering files = {0};
    tn_status status = gathering_init(&files, 1, err);
    if (status == TN_OK)
        status = gather_map(&files, path, file_map_borrow(bytes, size), err);
    if (status == TN_OK)
        status = assemble(&files, path, NULL, ret_checkpoint, err);
    gathering_finish(&files);
    return status;
}

tn_status checkpoint_open_without_weights(const char *path, checkpoint **ret_checkpoint, tn_error *err)
{
    struct stat stat_buffer;
    gathering nothing = {0};

    if (stat(path, &stat_buffer) != 0)
        return tn_fail(err, errno == ENOENT ? TN_E_NOT_FOUND : TN_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(stat_buffer.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "%s: it must be a directory that holds a config.json", path);
    return assemble(&nothing, path, path, ret_checkpoint, err);
}

tn_status safetensors_open(const char *path, checkpoint **ret_checkpoint, tn_error *err)
{
    struct stat stat_buffer;
    gathering files = {0};

    if (stat(path, &stat_buffer) != 0)
        return tn_fail(err, errno == ENOENT ? TN_E_NOT_FOUND : TN_E_IO, "%s: %s", path, strerror(errno));
    bool is_directory = S_ISDIR(stat_buffer.st_mode);
    const char *slash = strrchr(path, '/');
    char *directory = is_directory ? strdup(path) : slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!directory)
        return tn_fail(err, TN_E_MEMORY, "%s", path);

    tn_status status = is_directory ? gather_directory(&files, path, err) : gather_single(&files, path, err);
    if (status == TN_OK)
        status = assemble(&files, path, directory, ret_checkpoint, err);
    gathering_finish(&files);
    free(directory);
    return status;
}
