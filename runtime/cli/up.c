/* up.c: `tenon up FILE.ini`: the services of a settings file as they are to be: made where they are missing, changed
 * where they differ, left alone where they do not.
 */
#include "cli/service_target.h"
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

/* ---- on a cluster ---- */

/* What a cluster knows of: no instance is none while nobody asks, and nothing suspends. */
static json_t *wanted_on_target(json_t *wanted)
{
    json_t *fit = json_deep_copy(wanted);

    if (json_integer_value(json_object_get(fit, "min")) == 0)
        json_object_set_new(fit, "min", json_integer(1));
    json_object_del(fit, "autosuspend");
    return fit;
}

static bool only_counts(const json_t *changes)
{
    size_t counts = (json_object_get(changes, "min") != NULL) + (json_object_get(changes, "max") != NULL);
    return json_object_size(changes) == counts;
}

static void change_on_target(const settings *settings, const target *target, const service_spec *spec,
                             const json_t *changes, outcome *o)
{
    tn_error err = TN_ERROR_INIT;

    o->change = json_object_size(changes) ? "updated" : "unchanged";
    if (json_object_size(changes) == 0)
        return;
    if (!only_counts(changes))
        service_target_submit(settings, target, spec, NULL, TARGET_REPLACE, &o->code, &err);
    else if (target->scale(settings, spec->name, spec->min_instances ? spec->min_instances : 1, spec->max_instances,
                           &err) != TN_OK)
        o->code = report(&err);
}

static void bring_about_on_target(const settings *settings, const target *target, const service_spec *spec,
                                  json_t *wanted, outcome *o)
{
    tn_error err = TN_ERROR_INIT;
    json_t *service = NULL, *fit = wanted_on_target(wanted);

    tn_status status = target->show(settings, spec->name, &service, &err);
    if (status == TN_E_NOT_FOUND) {
        o->change = "created";
        service_target_submit(settings, target, spec, NULL, TARGET_MAKE, &o->code, &err);
    } else if (status != TN_OK) {
        o->code = report(&err);
    } else {
        json_t *changes = find_changes(service, fit, o);
        change_on_target(settings, target, spec, changes, o);
        json_decref(changes);
    }
    if (o->code >= 0)
        o->change = "refused";
    json_decref(service);
    json_decref(fit);
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

static tn_status read_sections(const char *ini, const settings *settings, json_t *all, tn_error *err)
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
        status = tn_fail(err, TN_E_ARGUMENT, "%.300s: there is no section [service NAME]", ini);
    return status;
}

/* Of a section with a target. */
static int bring_up_on_target(const up_flags *f, const settings *settings, const char *section, json_t *wanted,
                              json_t *list)
{
    service_spec spec;
    const char **sets = NULL;
    const target *target = NULL;
    outcome o = {.code = -1, .change = "refused"};
    tn_error err = TN_ERROR_INIT;

    tn_status status = target_find(settings_string(settings, section, "target"), &target, &err);
    if (status == TN_OK)
        status = service_spec_of_section(settings, section, &spec, &sets, &err);
    if (status != TN_OK)
        o.code = report(&err);
    else
        bring_about_on_target(settings, target, &spec, wanted, &o);
    if (o.code < 0)
        o.code = f->no_wait ? 0 : service_target_follow(settings, target, spec.name, "READY", -1, &o.service);
    print_outcome(section + strlen("service "), &o, list);
    json_decref(o.service);
    free(sets);
    return o.code;
}

/* All are read before the first is brought about; then every one is tried, and the exit code is the largest. */
static int bring_all_up(daemon_client *client, const up_flags *f, const char *ini, const settings *settings,
                        json_t *list)
{
    json_t *all = json_object(), *wanted;
    const char *section;
    int code = 0;
    tn_error err = TN_ERROR_INIT;

    if (read_sections(ini, settings, all, &err) != TN_OK) {
        json_decref(all);
        return report(&err);
    }
    json_object_foreach(all, section, wanted)
    {
        int one = settings_string(settings, section, "target") ? bring_up_on_target(f, settings, section, wanted, list)
                                                               : bring_up(client, f, section, wanted, list);
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
    a.ini = a.positional[0];
    json_t *list = f.json ? json_array() : NULL;
    tn_status status = settings_read(a.ini, a.sets, &settings, &err);
    if (status == TN_OK)
        status = daemon_client_open(&f.daemon, &a, &client, &err);
    code = status == TN_OK ? bring_all_up(client, &f, a.ini, settings, list) : report(&err);
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
        "FILE.ini is what --config is of other commands. A section with target = NAME is put on that "
        "cluster.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_OF_ARGUMENT,
    .run = run_up,
};
