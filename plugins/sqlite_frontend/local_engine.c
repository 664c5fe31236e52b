/* local_engine.c: see local_engine.h. */
#include "local_engine.h"

#include "client/whole_json.h"
#include "tenon/embed.h"

#include <dlfcn.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SQLITE_EXTENSION_INIT3

enum { SETTINGS_MAX = 64 };

/* The doors of libtenon, found by name. */
typedef struct library {
    tn_status (*serve)(const char *, const char *const *, tn_runtime **, tn_error *);
    void (*close)(tn_runtime *);
    tn_engine *(*engine)(tn_runtime *);
    const void *(*interface)(tn_runtime *, const char *);
} library;

/* One for a process, as a plugin is, with its settings: the front end has one address. */
typedef struct local_engine {
    tn_runtime *runtime; /* NULL: none yet */
    char *path;
    char folder[32], address[64]; /* "unix:/tmp/tenon-XXXXXX/engine"; "": not made yet */
    const char *name;             /* the runtime's */
} local_engine;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under lock. */
static library tenon;
static local_engine held;

/* Beside the extension as it is installed (LIB/tenon/tenon_sqlite.so, LIB/libtenon.so.0), else where the linker looks.
 */
static void *open_library(void)
{
    Dl_info self;
    char own[4096], path[4200];

    if (dladdr(&lock, &self) && self.dli_fname && strlen(self.dli_fname) < sizeof own) {
        snprintf(own, sizeof own, "%s", self.dli_fname);
        snprintf(path, sizeof path, "%s/../libtenon.so.0", dirname(own));
        void *beside = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (beside)
            return beside;
    }
    return dlopen("libtenon.so.0", RTLD_NOW | RTLD_LOCAL);
}

static tn_status find_doors(tn_error *err)
{
    library found;
    const struct {
        const char *name;
        void *place;
    } doors[] = {{"tn_runtime_serve", &found.serve},
                 {"tn_runtime_close", &found.close},
                 {"tn_runtime_engine", &found.engine},
                 {"tn_runtime_interface", &found.interface}};

    if (tenon.serve)
        return TN_OK;
    void *handle = open_library();
    if (!handle)
        return tn_fail(err, TN_E_UNSUPPORTED, "libtenon is not here, and a model in the process needs it: %.300s",
                       dlerror());
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        void *symbol = dlsym(handle, doors[i].name);
        if (!symbol)
            return tn_fail(err, TN_E_UNSUPPORTED, "this libtenon is too old: it lacks %s", doors[i].name);
        memcpy(doors[i].place, &symbol, sizeof symbol);
    }
    tenon = found;
    return TN_OK;
}

/* "section.key=value" texts, NULL-terminated; free with free_settings. */
static void free_settings(char **texts)
{
    for (size_t i = 0; i <= SETTINGS_MAX; i++)
        free(texts[i]);
}

static char *setting_text(const char *key, const json_t *value)
{
    char *plain = json_is_string(value) ? NULL : whole_json(value, JSON_ENCODE_ANY), *text = NULL;

    if (asprintf(&text, "%s=%s", key, plain ? plain : json_string_value(value)) < 0)
        text = NULL;
    free(plain);
    return text;
}

static tn_status read_settings(const char *json, const char *path, char **texts, tn_error *err)
{
    json_error_t fault;
    json_t *root = json_loads(json ? json : "{}", JSON_REJECT_DUPLICATES, &fault), *value;
    const char *key;
    size_t count = 0;
    tn_status status = TN_OK;

    if (!json_is_object(root) || json_object_size(root) > SETTINGS_MAX - 2) {
        json_decref(root);
        return tn_fail(err, TN_E_ARGUMENT,
                       "settings must be a JSON object of at most %d keys, such as {\"model.max_model_len\": 4096}",
                       SETTINGS_MAX - 2);
    }
    json_object_foreach(root, key, value)
    {
        if (!json_is_string(value) && !json_is_number(value) && !json_is_boolean(value))
            status = tn_fail(err, TN_E_ARGUMENT, "settings: '%.100s' must be a text, a number, true or false", key);
        else if (!(texts[count++] = setting_text(key, value)))
            status = tn_fail(err, TN_E_MEMORY, "out of memory for the settings");
        if (status != TN_OK)
            break;
    }
    json_decref(root);
    if (status == TN_OK && (asprintf(&texts[count++], "model.path=%s", path) < 0 ||
                            asprintf(&texts[count++], "http_frontend.listen=%s", held.address) < 0))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for the settings");
    return status;
}

/* At the process's end: the socket and its folder go. */
static void close_held(void)
{
    if (held.runtime)
        tenon.close(held.runtime);
    rmdir(held.folder);
    free(held.path);
}

static tn_status make_folder(tn_error *err)
{
    if (held.address[0])
        return TN_OK;
    snprintf(held.folder, sizeof held.folder, "/tmp/tenon-XXXXXX");
    if (!mkdtemp(held.folder))
        return tn_fail(err, TN_E_IO, "no folder for a socket can be made in /tmp");
    snprintf(held.address, sizeof held.address, "unix:%s/engine", held.folder);
    atexit(close_held);
    return TN_OK;
}

static tn_status name_engine(tn_runtime *runtime, const char **ret_name, tn_error *err)
{
    tn_engine_info info = {.struct_size = sizeof info};
    const tn_engine_table *api = tenon.interface(runtime, TN_ENGINE_ID);

    if (!api)
        return tn_fail(err, TN_E_UNSUPPORTED, "this libtenon is of another version than the extension");
    if (api->info(tenon.engine(runtime), &info) != TN_OK)
        return tn_fail(err, TN_E_INTERNAL, "the engine says nothing of itself");
    *ret_name = info.served_names[0];
    return TN_OK;
}

static tn_status load(const char *path, const char *settings, tn_error *err)
{
    char *texts[SETTINGS_MAX + 1] = {NULL}, *own_path = strdup(path);
    tn_runtime *runtime = NULL;

    tn_status status = own_path ? make_folder(err) : tn_fail(err, TN_E_MEMORY, "out of memory");
    if (status == TN_OK)
        status = read_settings(settings, path, texts, err);
    if (status == TN_OK)
        status = tenon.serve(NULL, (const char *const *)texts, &runtime, err);
    if (status == TN_OK)
        status = name_engine(runtime, &held.name, err);
    free_settings(texts);
    if (status != TN_OK) {
        if (runtime)
            tenon.close(runtime);
        free(own_path);
        return status;
    }
    held.runtime = runtime;
    held.path = own_path;
    return TN_OK;
}

tn_status local_engine_load(const char *path, const char *settings, const char **ret_address, const char **ret_name,
                            tn_error *err)
{
    pthread_mutex_lock(&lock);
    tn_status status = find_doors(err);
    if (status == TN_OK && !held.runtime)
        status = load(path, settings, err);
    else if (status == TN_OK && strcmp(held.path, path) != 0)
        status =
            tn_fail(err, TN_E_UNSUPPORTED, "this process holds '%.200s' already, and can hold one model", held.path);
    pthread_mutex_unlock(&lock);
    if (status != TN_OK)
        return status;
    *ret_address = held.address;
    *ret_name = held.name;
    return TN_OK;
}

static void llm_load(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    const char *path = (const char *)sqlite3_value_text(arguments[0]), *address, *name;
    const char *settings = count > 1 ? (const char *)sqlite3_value_text(arguments[1]) : NULL;
    tn_error err = TN_ERROR_INIT;

    if (!path || (count > 1 && !settings))
        return; /* NULL in, NULL out */
    tn_status status = local_engine_load(path, settings, &address, &name, &err);
    if (status == TN_OK)
        status = sql_connection_use(sqlite3_user_data(context), address, NULL, &err);
    if (status == TN_OK) {
        sqlite3_result_text(context, name, -1, SQLITE_TRANSIENT);
        return;
    }
    char *text = sqlite3_mprintf("llm_load: %s", err.msg);
    sqlite3_result_error(context, text ? text : err.msg, -1);
    sqlite3_free(text);
}

int local_engine_register(sqlite3 *db, sql_connection *connection)
{
    int code = SQLITE_OK;

    for (int count = 1; code == SQLITE_OK && count <= 2; count++)
        code =
            sqlite3_create_function_v2(db, "llm_load", count, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                       sql_connection_retain(connection), llm_load, NULL, NULL, sql_connection_release);
    return code;
}
