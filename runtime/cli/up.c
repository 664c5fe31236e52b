/* up.c: `tenon up FILE.ini`: the services of a settings file as they are to be: made where they are missing, changed
 * where they differ, left alone where they do not.
 */
#include "cli/service.h"
#include "service/services.h"

#include <stdlib.h>
#include <string.h>

typedef struct up_flags {
    daemon_flags daemon;
    bool no_wait, json;
} up_flags;

/* What became of one service. */
typedef struct outcome {
    const char *change; /* "created", "updated", "unchanged", "refused" */
    char differences[512];
    json_t *service; /* owned; NULL: it was refused */
    int code;
} outcome;

/* ---- what is to be ---- */

/* Keys of [model] and [engine] go with and without their section. */
static const char *bare_key(const char *setting)
{
    if (strncmp(setting, "model.", 6) == 0)
        return setting + 6;
    return strncmp(setting, "engine.", 7) == 0 ? setting + 7 : setting;
}

static json_t *settings_json(const char *const *sets)
{
    json_t *object = json_object();
    char key[256];

    for (; sets && *sets; sets++) {
        const char *equals = strchr(*sets, '=');
        TN_ASSERT(equals); /* service_spec_of_section makes them */
        snprintf(key, sizeof key, "%.*s", (int)(equals - *sets), *sets);
        json_object_set_new(object, bare_key(key), json_string(equals + 1));
    }
    return object;
}

static json_t *spec_json(const service_spec *spec)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "model", spec->model, "pool", spec->pool, "gpus",
                     (json_int_t)spec->gpus, "min", (json_int_t)spec->min_instances, "max",
                     (json_int_t)spec->max_instances, "autosuspend", (json_int_t)spec->autosuspend_s, "settings",
                     settings_json(spec->sets));
}

static tn_status read_section(const settings *settings, const char *section, json_t **ret_wanted, tn_error *err)
{
    service_spec spec;
    const char **sets = NULL;
    tn_status status = service_spec_of_section(settings, section, &spec, &sets, err);

    if (status == TN_OK && (!spec.model || !spec.pool))
        status = tn_fail(err, TN_E_ARGUMENT, "[%s] lacks %s", section, spec.model ? "pool" : "model");
    if (status == TN_OK)
        *ret_wanted = spec_json(&spec);
    free(sets);
    return status;
}

/* ---- what is ---- */

/* The texts "section.key=value" of an answer as an object. */
static json_t *settings_of(const json_t *service)
{
    json_t *object = json_object(), *text;
    size_t i;
    char key[256];

    json_array_foreach(json_object_get(service, "settings"), i, text)
    {
        const char *setting = json_string_value(text), *equals = setting ? strchr(setting, '=') : NULL;
        if (!equals)
            continue;
        snprintf(key, sizeof key, "%.*s", (int)(equals - setting), setting);
        json_object_set_new(object, bare_key(key), json_string(equals + 1));
    }
    return object;
}

static void note_difference(outcome *o, const char *key, const json_t *is, const json_t *wanted)
{
    size_t used = strlen(o->differences);
    char *from = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT),
         *to = json_dumps(wanted, JSON_ENCODE_ANY | JSON_COMPACT);

    snprintf(o->differences + used, sizeof o->differences - used, "%s%s %s -> %s", used ? ", " : "", key,
             from ? from : "?", to ? to : "?");
    free(from);
    free(to);
}

/* Zero devices are as many as it takes, which is what it has. */
static bool is_so(const char *key, const json_t *is, const json_t *wanted)
{
    return json_equal(is, wanted) || (strcmp(key, "gpus") == 0 && json_integer_value(wanted) == 0);
}

/* The wanted members that are not so; notes each. Owned. */
static json_t *find_changes(const json_t *service, json_t *wanted, outcome *o)
{
    json_t *changes = json_object(), *settings = settings_of(service), *value;
    const char *key;

    json_object_foreach(wanted, key, value)
    {
        const json_t *is = strcmp(key, "settings") == 0 ? settings : json_object_get(service, key);
        if (is_so(key, is, value))
            continue;
        note_difference(o, key, is, value);
        json_object_set(changes, key, value);
    }
    json_decref(settings);
    return changes;
}

/* ---- from one to the other ---- */

static void make(daemon_client *client, const char *name, json_t *wanted, outcome *o)
{
    o->change = "created";
    json_object_set_new(wanted, "name", json_string(name));
    o->code = service_ask(client, "POST", "/services", wanted, &o->service);
}

static void change(daemon_client *client, const char *path, json_t *service, json_t *wanted, outcome *o)
{
    json_t *changes = find_changes(service, wanted, o);

    o->change = json_object_size(changes) ? "updated" : "unchanged";
    if (json_object_size(changes))
        o->code = service_ask(client, "PATCH", path, changes, &o->service);
    else
        o->service = json_incref(service);
    json_decref(changes);
}

static void bring_about(daemon_client *client, const char *name, json_t *wanted, outcome *o)
{
    char path[DAEMON_PATH_BYTES];
    daemon_answer answer = {0};
    tn_error err = TN_ERROR_INIT;

    o->code = -1;
    if (!daemon_path(path, "/services", name, ""))
        tn_fail(&err, TN_E_ARGUMENT, "[service %.80s]: the name is too long", name);
    else
        daemon_ask(client, "GET", path, NULL, ADMIN_SECONDS, &answer, &err);
    if (*err.msg)
        o->code = report(&err);
    else if (answer.code == 404)
        make(client, name, wanted, o);
    else if (answer.code == 200)
        change(client, path, answer.json, wanted, o);
    else
        o->code = daemon_report(&answer);
    if (o->code >= 0)
        o->change = "refused";
    json_decref(answer.json);
}

static void print_outcome(const char *name, const outcome *o, json_t *list)
{
    if (list) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:O?}", "name", name, "change", o->change, "differences",
                                              o->differences, "service", o->service));
        return;
    }
    printf("%s: %s%s%s%s\n", name, o->change, *o->differences ? " (" : "", o->differences, *o->differences ? ")" : "");
}

static int bring_up(daemon_client *client, const up_flags *f, const char *section, json_t *wanted, json_t *list)
{
    const char *name = section + strlen("service ");
    outcome o = {0};

    bring_about(client, name, wanted, &o);
    if (o.code < 0) {
        o.code = 0;
        if (!f->no_wait) {
            json_decref(o.service);
            o.code = service_follow(client, name, "READY", -1, &o.service);
        }
    }
    print_outcome(name, &o, list);
    json_decref(o.service);
    return o.code;
}

static tn_status read_sections(const settings *settings, json_t *all, tn_error *err)
{
    tn_status status = TN_OK;
    const char *section;
    json_t *wanted;

    for (uint32_t i = 0; status == TN_OK && (section = settings_named_section(settings, "service", i)); i++) {
        status = read_section(settings, section, &wanted, err);
        if (status == TN_OK)
            json_object_set_new(all, section, wanted);
    }
    if (status == TN_OK && json_object_size(all) == 0)
        status = tn_fail(err, TN_E_ARGUMENT, "there is no section [service NAME]");
    return status;
}

/* All are read before the first is brought about; then every one is tried, and the exit code is the largest. */
static int bring_all_up(daemon_client *client, const up_flags *f, const settings *settings, json_t *list)
{
    json_t *all = json_object(), *wanted;
    const char *section;
    int code = 0;
    tn_error err = TN_ERROR_INIT;

    if (read_sections(settings, all, &err) != TN_OK) {
        json_decref(all);
        return report(&err);
    }
    json_object_foreach(all, section, wanted)
    {
        int one = bring_up(client, f, section, wanted, list);
        code = one > code ? one : code;
    }
    json_decref(all);
    return code;
}

static int run_up(const command *command, int argc, char **argv)
{
    up_flags f = {0};
    const flag flags[] = {
        {"no-wait", NULL, FLAG_SWITCH, &f.no_wait, NULL, "do not wait until they are READY"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "what has changed as one JSON array"},
        DAEMON_FLAGS(f.daemon),
    };
    args a;
    settings *settings = NULL;
    daemon_client *client = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (a.ini) {
        fprintf(stderr, "tenon up: FILE.ini is the settings file; leave --config out\n");
        args_finish(&a);
        return EXIT_USAGE;
    }
    a.ini = a.positional[0];
    json_t *list = f.json ? json_array() : NULL;
    tn_status status = settings_read(a.ini, a.sets, &settings, &err);
    if (status == TN_OK)
        status = daemon_client_open(&f.daemon, &a, &client, &err);
    code = status == TN_OK ? bring_all_up(client, &f, settings, list) : report(&err);
    if (json_array_size(list))
        service_print_json(list);
    json_decref(list);
    daemon_client_close(client);
    settings_destroy(settings);
    args_finish(&a);
    return code;
}

const command command_up = {
    .name = "up",
    .arguments = "FILE.ini",
    .summary = "the services of a settings file: create what is missing, update what differs",
    .help =
        "Prints for each [service NAME] what has changed; a second time that is nothing. Services that the file does\n"
        "not name are left alone. Exit codes as of `tenon service create`; of several services, the "
        "largest.\n"
        "FILE.ini is what --config is below.\n" DAEMON_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_up,
};
