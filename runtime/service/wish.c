/* wish.c: specs checked, and wishes as JSON files. The files are our own, but a disk may be edited or damaged: each
 * field is read for its type, and one that is missing is damage. */
#include "service/wish.h"

#include "base/edit_distance.h"
#include "file/directory.h"
#include "file/whole_file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WISH_FORMAT = 1 /* of the file; fields that an older Tenon may pass over do not count */ };

enum { SET_BYTES_MAX = 3000, KNOWN_MAX = 128 };

/* ---- specs ---- */

tn_status wish_check_name(const char *name, tn_error *err)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t bytes = name ? strlen(name) : 0;
    if (bytes == 0 || bytes > SERVICE_NAME_BYTES_MAX || !strchr(first, name[0]) ||
        name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-")])
        return tn_fail(err, TN_E_ARGUMENT,
                       "name: \"%.80s\" is none: 1 to %d of a-z, 0-9, '.', '_' and '-', the first a letter or digit",
                       name ? name : "", SERVICE_NAME_BYTES_MAX);
    return TN_OK;
}

/* Names a section of settings that services choose from; NULL: the daemon chooses there itself. */
static bool may_be_set(const char *section, const char *key)
{
    static const char *const own[] = {"server", "frontend", "plugins",         "registry",
                                      "roi",    "group",    "socket_frontend", "http_frontend"};
    static const char *const own_keys[] = {"model.path", "backend.plugin", "backend.tensor_parallel_size"};
    char full[256];
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(section, own[i]) == 0)
            return false;
    snprintf(full, sizeof full, "%s.%s", section, key);
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++)
        if (strcmp(full, own_keys[i]) == 0)
            return false;
    return !strchr(section, ' ');
}

static tn_status find_section(const char *key, const char **ret_section, tn_error *err)
{
    const char *known[KNOWN_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < settings_option_count; i++) {
        const settings_option *row = &settings_options[i];
        if ((strcmp(row->section, "model") != 0 && strcmp(row->section, "engine") != 0) ||
            !may_be_set(row->section, row->key))
            continue;
        if (strcmp(row->key, key) == 0) {
            *ret_section = row->section;
            return TN_OK;
        }
        if (count < KNOWN_MAX)
            known[count++] = row->key;
    }
    const char *nearest = nearest_name(key, known, count);
    if (nearest)
        return tn_fail(err, TN_E_ARGUMENT, "settings: there is no \"%.80s\"; did you mean \"%s\"?", key, nearest);
    return tn_fail(
        err, TN_E_ARGUMENT,
        "settings: there is no \"%.80s\"; keys of [model] and [engine] go by themselves, others as section.key", key);
}

/* Else an .ini file would take something for a comment, or trim. */
bool wish_fits_a_line(const char *value)
{
    size_t bytes = strlen(value);
    if (bytes == 0 || value[0] == ' ' || value[0] == '\t' || value[bytes - 1] == ' ' || value[bytes - 1] == '\t')
        return false;
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f || (*at == ';' && at > value && at[-1] == ' '))
            return false;
    return true;
}

tn_status wish_setting(const char *text, char **ret_text, tn_error *err)
{
    /* Anything else may be a line of its own, or a comment, to an .ini file. */
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- ";
    char key[128];
    const char *equals = strchr(text, '='), *section;
    size_t bytes = equals ? (size_t)(equals - text) : 0;

    if (bytes == 0 || bytes >= sizeof key || strspn(text, letters) != bytes || strlen(text) > SET_BYTES_MAX ||
        !wish_fits_a_line(equals + 1))
        return tn_fail(err, TN_E_ARGUMENT, "settings: \"%.80s\" is not key=value of one line", text);
    memcpy(key, text, bytes);
    key[bytes] = '\0';
    char *dot = strchr(key, '.');
    if (dot) {
        *dot = '\0';
        if (dot == key || !dot[1] || !may_be_set(key, dot + 1))
            return tn_fail(err, TN_E_ARGUMENT, "settings: %.80s.%.80s is not a service's to set", key, dot + 1);
        section = key;
        dot++;
    } else {
        tn_status status = find_section(key, &section, err);
        if (status != TN_OK)
            return status;
        dot = key;
    }
    size_t size = strlen(section) + strlen(dot) + strlen(equals) + 2;
    char *full = malloc(size);
    if (!full)
        return tn_fail(err, TN_E_MEMORY, "a service's settings");
    snprintf(full, size, "%s.%s%s", section, dot, equals);
    *ret_text = full;
    return TN_OK;
}

static void free_texts(char **texts)
{
    for (char **at = texts; at && *at; at++)
        free(*at);
    free(texts);
}

static tn_status take_sets(wish *wish, const char *const *sets, tn_error *err)
{
    char **fresh = calloc(SERVICE_SETS_MAX + 1, sizeof *fresh);
    tn_status status = fresh ? TN_OK : tn_fail(err, TN_E_MEMORY, "a service's settings");
    for (uint32_t i = 0; status == TN_OK && sets && sets[i]; i++)
        status = i < SERVICE_SETS_MAX ? wish_setting(sets[i], &fresh[i], err)
                                      : tn_fail(err, TN_E_ARGUMENT, "settings: more than %d", SERVICE_SETS_MAX);
    if (status != TN_OK) {
        free_texts(fresh);
        return status;
    }
    free_texts(wish->sets);
    wish->sets = fresh;
    return TN_OK;
}

static uint32_t pick(uint32_t asked, uint32_t is)
{
    return asked == SERVICE_UNCHANGED ? is : asked;
}

static tn_status take_counts(wish *wish, const service_spec *spec, tn_error *err)
{
    uint32_t min = pick(spec->min_instances, wish->min), max = pick(spec->max_instances, wish->max);
    uint32_t gpus = pick(spec->gpus, wish->gpus);
    if (max < 1 || max > SERVICE_INSTANCES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "max_instances: %u is not within 1 and %d", max, SERVICE_INSTANCES_MAX);
    if (min > max)
        return tn_fail(err, TN_E_ARGUMENT, "min_instances: %u is more than max_instances, %u", min, max);
    if (gpus > 1024)
        return tn_fail(err, TN_E_ARGUMENT, "gpus: %u is more than 1024", gpus);
    wish->min = min;
    wish->max = max;
    wish->gpus = gpus;
    wish->autosuspend_s = pick(spec->autosuspend_s, wish->autosuspend_s);
    return TN_OK;
}

static tn_status take_pool(wish *wish, const char *pool, tn_error *err)
{
    size_t bytes = strlen(pool);
    if (bytes == 0 || bytes >= sizeof wish->pool)
        return tn_fail(err, TN_E_ARGUMENT, "pool: \"%.60s\" is no name of one", pool);
    memcpy(wish->pool, pool, bytes + 1);
    return TN_OK;
}

static tn_status take_model(wish *wish, const char *model, tn_error *err)
{
    if (!wish_fits_a_line(model) || strlen(model) >= PATH_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "model: \"%.80s\" is neither a name of the registry nor a path", model);
    char *copy = strdup(model);
    if (!copy)
        return tn_fail(err, TN_E_MEMORY, "a service's model");
    free(wish->model);
    wish->model = copy;
    return TN_OK;
}

tn_status wish_take(wish *wish, const service_spec *spec, tn_error *err)
{
    bool fresh = !wish->name[0];
    tn_status status = fresh ? wish_check_name(spec->name, err) : TN_OK;
    if (status == TN_OK && fresh && (!spec->model || !spec->pool))
        status = tn_fail(err, TN_E_ARGUMENT, "%s: it is missing", spec->model ? "pool" : "model");
    if (status == TN_OK)
        status = take_counts(wish, spec, err);
    if (status == TN_OK && spec->pool)
        status = take_pool(wish, spec->pool, err);
    if (status == TN_OK && spec->model)
        status = take_model(wish, spec->model, err);
    if (status == TN_OK && (spec->sets || fresh))
        status = take_sets(wish, spec->sets, err);
    if (status == TN_OK && fresh)
        memcpy(wish->name, spec->name, strlen(spec->name) + 1);
    return status;
}

/* ---- life ---- */

tn_status wish_copy(const wish *from, wish *ret_copy, tn_error *err)
{
    wish copy = *from;
    copy.model = strdup(from->model);
    copy.path = strdup(from->path ? from->path : "");
    copy.sets = calloc(SERVICE_SETS_MAX + 1, sizeof *copy.sets);
    copy.told = from->told ? strdup(from->told) : NULL;
    copy.before = NULL;
    bool whole = copy.model && copy.path && copy.sets && (copy.told || !from->told);
    for (uint32_t i = 0; whole && from->sets[i]; i++)
        whole = (copy.sets[i] = strdup(from->sets[i])) != NULL;
    if (!whole) {
        wish_finish(&copy);
        return tn_fail(err, TN_E_MEMORY, "a service");
    }
    *ret_copy = copy;
    return TN_OK;
}

void wish_finish(wish *wish)
{
    free(wish->model);
    free(wish->path);
    free(wish->told);
    free_texts(wish->sets);
    if (wish->before)
        wish_finish(wish->before);
    free(wish->before);
    *wish = (struct wish){0};
}

/* ---- as a file ---- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *plan_json(const engine_plan *plan)
{
    json_t *object = json_object();
    json_object_set_new(object, "device_bytes", number(plan->device_bytes));
    json_object_set_new(object, "kv_bytes", number(plan->kv_bytes));
    json_object_set_new(object, "total_bytes", number(plan->total_bytes));
    json_object_set_new(object, "world", number(plan->world));
    json_object_set_new(object, "pool_devices", number(plan->pool_devices));
    json_object_set_new(object, "max_model_len", number(plan->max_model_len));
    json_object_set_new(object, "max_num_seqs", number(plan->max_num_seqs));
    json_object_set_new(object, "max_num_batched_tokens", number(plan->max_num_batched_tokens));
    return object;
}

static json_t *failure_json(const wish_failure *failure)
{
    json_t *object = json_object();
    json_object_set_new(object, "failed", json_boolean(failure->failed));
    json_object_set_new(object, "update_failed", json_boolean(failure->update_failed));
    json_object_set_new(object, "exit_code", failure->has_exit_code ? json_integer(failure->exit_code) : json_null());
    json_object_set_new(object, "needed_bytes", number(failure->needed_bytes));
    json_object_set_new(object, "had_bytes", number(failure->had_bytes));
    /* An engine's words may be cut within a character. */
    json_t *message = json_string(failure->message);
    json_object_set_new(object, "message", message ? message : json_string("(not valid UTF-8)"));
    return object;
}

static json_t *wish_json(const wish *wish)
{
    json_t *object = json_object(), *sets = json_array();
    for (char **set = wish->sets; *set; set++)
        json_array_append_new(sets, json_string(*set));
    json_object_set_new(object, "format", json_integer(WISH_FORMAT));
    json_object_set_new(object, "name", json_string(wish->name));
    json_object_set_new(object, "model", json_string(wish->model));
    json_object_set_new(object, "path", json_string(wish->path));
    json_object_set_new(object, "digest", wish->digest.hex[0] ? json_string(wish->digest.hex) : json_null());
    json_object_set_new(object, "pool", json_string(wish->pool));
    json_object_set_new(object, "gpus", number(wish->gpus));
    json_object_set_new(object, "min", number(wish->min));
    json_object_set_new(object, "max", number(wish->max));
    json_object_set_new(object, "autosuspend", number(wish->autosuspend_s));
    json_object_set_new(object, "settings", sets);
    json_object_set_new(object, "generation", number(wish->generation));
    json_object_set_new(object, "generation_last", number(wish->generation_last));
    json_object_set_new(object, "suspended", json_boolean(wish->suspended));
    json_object_set_new(object, "deleting", json_boolean(wish->deleting));
    json_object_set_new(object, "drain", number(wish->drain_s));
    json_object_set_new(object, "created", number(wish->created_ms));
    json_object_set_new(object, "plan", plan_json(&wish->plan));
    json_object_set_new(object, "failure", failure_json(&wish->failure));
    json_object_set_new(object, "told", wish->told ? json_string(wish->told) : json_null());
    json_object_set_new(object, "before", wish->before ? wish_json(wish->before) : json_null());
    return object;
}

tn_status wish_write(const wish *wish, const char *folder, tn_error *err)
{
    char name[SERVICE_NAME_BYTES_MAX + 8];
    json_t *object = wish_json(wish);
    char *text = json_dumps(object, JSON_INDENT(1));
    json_decref(object);
    if (!text)
        return tn_fail(err, TN_E_ARGUMENT, "service %s: a field is not valid UTF-8", wish->name);
    snprintf(name, sizeof name, "%s.json", wish->name);
    tn_status status = whole_file_put(folder, name, text, strlen(text), err);
    free(text);
    return status;
}

tn_status wish_remove(const wish *wish, const char *folder, tn_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.json", folder, wish->name);
    if (unlink(path) != 0 && errno != ENOENT)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    return directory_sync(folder, err);
}

/* ---- and back ---- */

typedef struct wish_texts {
    const char *name, *model, *path, *digest, *pool, *message;
    json_t *sets, *exit_code;
    json_int_t gpus, min, max, autosuspend, generation, generation_last, drain, created;
    json_int_t device_bytes, kv_bytes, total_bytes, world, devices, len, seqs, batched, needed, had;
    int suspended, deleting, failed, update_failed;
} wish_texts;

static tn_status read_fields(const char *path, json_t *root, wish_texts *t, tn_error *err)
{
    json_error_t at;
    json_t *digest;
    int bad = json_unpack_ex(root, &at, 0,
                             "{s:s, s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:b, s:b, s:I, s:I,"
                             " s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:b, s:b, s:o, s:I, s:I, s:s}}",
                             "name", &t->name, "model", &t->model, "path", &t->path, "digest", &digest, "pool",
                             &t->pool, "gpus", &t->gpus, "min", &t->min, "max", &t->max, "autosuspend", &t->autosuspend,
                             "settings", &t->sets, "generation", &t->generation, "generation_last", &t->generation_last,
                             "suspended", &t->suspended, "deleting", &t->deleting, "drain", &t->drain, "created",
                             &t->created, "plan", "device_bytes", &t->device_bytes, "kv_bytes", &t->kv_bytes,
                             "total_bytes", &t->total_bytes, "world", &t->world, "pool_devices", &t->devices,
                             "max_model_len", &t->len, "max_num_seqs", &t->seqs, "max_num_batched_tokens", &t->batched,
                             "failure", "failed", &t->failed, "update_failed", &t->update_failed, "exit_code",
                             &t->exit_code, "needed_bytes", &t->needed, "had_bytes", &t->had, "message", &t->message);
    if (bad)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: %s; restore the file, or remove it and create the service again",
                       path, at.text);
    t->digest = json_string_value(digest);
    return TN_OK;
}

static tn_status take_fields(const char *path, const wish_texts *t, wish *wish, tn_error *err)
{
    const char *sets[SERVICE_SETS_MAX + 2] = {NULL};
    for (size_t i = 0; i < json_array_size(t->sets) && i <= SERVICE_SETS_MAX; i++)
        if (!(sets[i] = json_string_value(json_array_get(t->sets, i))))
            return tn_fail(err, TN_E_CORRUPT, "%.200s: settings holds something that is no text", path);
    const service_spec spec = {.name = t->name,
                               .model = t->model,
                               .pool = t->pool,
                               .gpus = (uint32_t)t->gpus,
                               .min_instances = (uint32_t)t->min,
                               .max_instances = (uint32_t)t->max,
                               .autosuspend_s = (uint32_t)t->autosuspend,
                               .sets = sets};
    tn_error reason = TN_ERROR_INIT;
    tn_status status = wish_take(wish, &spec, &reason);
    if (status == TN_OK && t->digest && !digest_parse(t->digest, &wish->digest))
        status = tn_fail(&reason, TN_E_CORRUPT, "digest: it is no SHA-256");
    wish->path = status == TN_OK ? strdup(t->path) : NULL;
    if (status == TN_OK && !wish->path)
        status = tn_fail(&reason, TN_E_MEMORY, "out of memory");
    if (status != TN_OK)
        return tn_fail(err, status, "%.200s: %.280s", path, reason.msg);
    wish->generation = (uint32_t)t->generation;
    wish->generation_last = (uint32_t)t->generation_last;
    wish->suspended = t->suspended;
    wish->deleting = t->deleting;
    wish->drain_s = (uint32_t)t->drain;
    wish->created_ms = (uint64_t)t->created;
    wish->plan = (engine_plan){.device_bytes = (uint64_t)t->device_bytes,
                               .kv_bytes = (uint64_t)t->kv_bytes,
                               .total_bytes = (uint64_t)t->total_bytes,
                               .world = (uint32_t)t->world,
                               .pool_devices = (uint32_t)t->devices,
                               .max_model_len = (uint32_t)t->len,
                               .max_num_seqs = (uint32_t)t->seqs,
                               .max_num_batched_tokens = (uint32_t)t->batched};
    wish->failure = (wish_failure){.failed = t->failed,
                                   .update_failed = t->update_failed,
                                   .has_exit_code = json_is_integer(t->exit_code),
                                   .exit_code = (int32_t)json_integer_value(t->exit_code),
                                   .needed_bytes = (uint64_t)t->needed,
                                   .had_bytes = (uint64_t)t->had};
    snprintf(wish->failure.message, sizeof wish->failure.message, "%s", t->message);
    return TN_OK;
}

static tn_status read_object(const char *path, json_t *object, wish *ret_wish, tn_error *err)
{
    wish_texts texts = {0};
    json_int_t format = json_integer_value(json_object_get(object, "format")); /* not told: the first */
    *ret_wish = (wish){0};
    if (format > WISH_FORMAT)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "%.200s: a newer Tenon has written it (format %lld, this one reads %d); run that one on this store, "
            "or give this one a server.store of its own",
            path, (long long)format, WISH_FORMAT);
    tn_status status = read_fields(path, object, &texts, err);
    if (status == TN_OK)
        status = take_fields(path, &texts, ret_wish, err);
    const char *told = json_string_value(json_object_get(object, "told"));
    if (status == TN_OK && told && !(ret_wish->told = strdup(told)))
        status = tn_fail(err, TN_E_MEMORY, "a service");
    if (status != TN_OK)
        wish_finish(ret_wish);
    return status;
}

/* A copy under another name would be the same service twice. */
static tn_status check_file_name(const char *path, const char *file_name, const char *name, tn_error *err)
{
    size_t bytes = strlen(name);
    if (strncmp(file_name, name, bytes) == 0 && strcmp(file_name + bytes, ".json") == 0)
        return TN_OK;
    return tn_fail(err, TN_E_CORRUPT,
                   "%.200s: it is the file of service %s, which is %s.json; remove it, or give it its name", path, name,
                   name);
}

tn_status wish_read(const char *folder, const char *file_name, wish *ret_wish, tn_error *err)
{
    char path[PATH_MAX];
    json_error_t at;
    snprintf(path, sizeof path, "%s/%s", folder, file_name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!root)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: %s; restore the file, or remove it and create the service again",
                       path, at.text);
    tn_status status = read_object(path, root, ret_wish, err);
    json_t *before = json_object_get(root, "before");
    if (status == TN_OK)
        status = check_file_name(path, file_name, ret_wish->name, err);
    if (status == TN_OK && json_is_object(before))
        status = (ret_wish->before = calloc(1, sizeof *ret_wish)) ? read_object(path, before, ret_wish->before, err)
                                                                  : tn_fail(err, TN_E_MEMORY, "a service");
    if (status != TN_OK)
        wish_finish(ret_wish);
    json_decref(root);
    return status;
}
