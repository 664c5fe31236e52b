/* service_target.c: see service_target.h. */
#include "cli/service_target.h"

#include "target/prepare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Pauses between two questions: a cluster has other users. */
enum { PAUSE_MS_MIN = 250, PAUSE_MS_MAX = 5000 };

typedef struct opened {
    settings *settings;
    const target *target;
} opened;

int service_target_check(const command *command, const target_flags *flags)
{
    if (flags->name || flags->sets.count == 0)
        return -1;
    fprintf(stderr, "tenon %s: --target-set goes with --target\n", command->name);
    return EXIT_USAGE;
}

/* --target-set KEY=VALUE is a setting of [target NAME]. */
static tn_status open_target(const target_flags *flags, args *a, opened *o, tn_error *err)
{
    char section[64], key[160];

    *o = (opened){.settings = NULL};
    tn_status status = target_find(flags->name, &o->target, err);
    if (status == TN_OK && a->positional_count)
        status = wish_check_name(a->positional[0], err);
    for (uint32_t i = 0; status == TN_OK && i < flags->sets.count; i++) {
        const char *text = flags->sets.at[i], *equals = strchr(text, '=');
        if (!equals || equals == text || equals - text > 80 || a->set_count == ARGS_SETS_MAX)
            return tn_fail(err, TN_E_ARGUMENT, "--target-set takes KEY=VALUE, not '%.80s'", text);
        snprintf(section, sizeof section, "target %.40s", flags->name);
        snprintf(key, sizeof key, "%s.%.*s", section, (int)(equals - text), text);
        args_set(a, key, equals + 1);
    }
    return status == TN_OK ? settings_read(a->ini, a->sets, &o->settings, err) : status;
}

/* ---- watching ---- */

typedef struct target_question {
    const settings *settings;
    const target *target;
    const char *name;
    bool deleting;
    uint32_t pause_ms; /* 0: the first */
} target_question;

static void pause_between(target_question *question)
{
    const struct timespec pause = {question->pause_ms / 1000, (long)(question->pause_ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
    question->pause_ms = question->pause_ms ? question->pause_ms * 5 / 4 : PAUSE_MS_MIN;
    if (question->pause_ms > PAUSE_MS_MAX)
        question->pause_ms = PAUSE_MS_MAX;
}

static int ask_target(void *ctx, json_t **ret_json, bool *ret_late)
{
    target_question *question = ctx;
    tn_error err = TN_ERROR_INIT;

    (void)ret_late;
    pause_between(question);
    tn_status status = question->target->show(question->settings, question->name, ret_json, &err);
    if (status == TN_E_NOT_FOUND && question->deleting)
        return -1;
    return status == TN_OK ? -1 : report(&err);
}

int service_target_follow(const settings *settings, const target *target, const char *name, const char *state,
                          double seconds, json_t **ret_json)
{
    target_question question = {
        .settings = settings, .target = target, .name = name, .deleting = strcmp(state, "DELETING") == 0};
    return service_watch(ask_target, &question, name, state, seconds, ret_json);
}

/* ---- create ---- */

/* A number that a flag gave; -1: none was. */
static tn_status take_count(const char *flag, int64_t given, uint32_t otherwise, uint32_t *ret_count, tn_error *err)
{
    if (given < -1 || given > 65535)
        return tn_fail(err, TN_E_ARGUMENT, "--%s %lld is outside 0 to 65535", flag, (long long)given);
    *ret_count = given == -1 ? otherwise : (uint32_t)given;
    return TN_OK;
}

static tn_status make_spec(const service_flags *f, const char *name, const char *sets[STRINGS_MAX + 1],
                           service_spec *ret_spec, tn_error *err)
{
    service_spec spec = SERVICE_SPEC_INIT;

    spec.name = name;
    spec.model = f->model;
    spec.pool = f->pool;
    spec.sets = sets;
    for (uint32_t i = 0; i < f->sets.count; i++)
        sets[i] = f->sets.at[i];
    sets[f->sets.count] = NULL;
    if (f->autosuspend != -1)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "--autosuspend: on a cluster nothing of Tenon sees the requests; suspend and resume it yourself");
    tn_status status = take_count("gpus", f->gpus, 0, &spec.gpus, err);
    if (status == TN_OK)
        status = take_count("min", f->min, 1, &spec.min_instances, err);
    if (status == TN_OK)
        status = take_count("max", f->max, spec.min_instances, &spec.max_instances, err);
    *ret_spec = spec;
    return status;
}

static json_t *files_json(const target_files *files)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i < files->count; i++)
        json_object_set_new(object, files->at[i].name,
                            files->at[i].secret ? json_null() : json_string(files->at[i].text));
    return object;
}

static void print_files(const target_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        printf("%s==> %s <==\n%s", i ? "\n" : "", files->at[i].name,
               files->at[i].secret ? "(secret, of mode 0600: made anew each time, and not shown)\n"
                                   : files->at[i].text);
}

/* Rendered, and not submitted. */
static int show_files(const target_files *files, const target_prepared *prepared, const target_create *what)
{
    tn_error err = TN_ERROR_INIT;

    if (what->output && target_files_write(files, what->output, &err) != TN_OK)
        return report(&err);
    if (what->json) {
        json_t *json = json_pack("{s:O, s:o}", "plan", prepared->plan, "files", files_json(files));
        service_print_json(json);
        json_decref(json);
    } else if (what->output) {
        for (uint32_t i = 0; i < files->count; i++)
            printf("%s/%s\n", what->output, files->at[i].name);
    } else {
        print_files(files);
    }
    return 0;
}

static int misfit_code(tn_status status, const target_prepared *prepared)
{
    return status == TN_E_MEMORY && prepared->plan ? report_misfit(prepared->plan) : EXIT_FAILURE;
}

static void warn_open(const target_service *service)
{
    if (!service->token_file && !engine_settings_value(service->settings, "http_frontend.api_key_file"))
        fprintf(stderr,
                "warning: %s asks for no token: whoever reaches it may use it; [auth] token_file is a file of "
                "`tenon token` that its nodes see\n",
                service->name);
}

/* Whether what is there, as far as that can be known, needs a version of the registry. */
static bool is_run(const settings *settings, const target *target, const char *name, const char *digest)
{
    json_t *service = NULL;
    tn_error none = TN_ERROR_INIT;
    tn_status status = target->show(settings, name, &service, &none);
    const bool run = status == TN_OK ? strcmp(service_text(service, "digest"), digest) == 0 : status != TN_E_NOT_FOUND;

    json_decref(service);
    return run;
}

/* The registry keeps the model first: a job may start at once. */
static tn_status submit(const settings *settings, const target *target, const target_service *service,
                        const target_files *files, target_submission how, tn_error *err)
{
    tn_status status = target_keep_model(settings, target, service->name, service->digest, true, err);

    if (status != TN_OK)
        return status;
    status = target->submit(settings, service, files, how, err);
    if (status != TN_OK && service->digest && !is_run(settings, target, service->name, service->digest))
        target_keep_model(settings, target, service->name, service->digest, false, NULL);
    return status;
}

tn_status service_target_submit(const settings *settings, const target *target, const service_spec *spec,
                                const char *asked, target_submission how, int *ret_code, tn_error *err)
{
    target_prepared prepared;
    target_files files = {.count = 0};

    tn_status status = target_prepare(settings, spec, &prepared, err);
    if (status != TN_OK) {
        report(err);
        *ret_code = misfit_code(status, &prepared);
    } else {
        if (asked)
            prepared.service.model = asked;
        warn_open(&prepared.service);
        status = target->render(settings, &prepared.service, &files, err);
        if (status == TN_OK)
            status = submit(settings, target, &prepared.service, &files, how, err);
        if (status != TN_OK)
            *ret_code = report(err);
    }
    target_files_finish(&files);
    target_prepared_finish(&prepared);
    return status;
}

static int finish(const opened *o, const char *name, const target_create *what)
{
    json_t *service = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = 0;

    if (!what->no_wait)
        code = service_target_follow(o->settings, o->target, name, "READY", -1, &service);
    else if (o->target->show(o->settings, name, &service, &err) != TN_OK)
        code = report(&err);
    if (service && what->json)
        service_print_json(service);
    else if (service && code == 0)
        service_print_line(service);
    json_decref(service);
    return code;
}

static int create_on(const opened *o, const service_spec *spec, const target_create *what)
{
    target_prepared prepared;
    target_files files = {.count = 0};
    tn_error err = TN_ERROR_INIT;
    int code = 0;

    if (!what->dry_run && !what->output) {
        tn_status status = service_target_submit(o->settings, o->target, spec, NULL,
                                                 what->replace ? TARGET_REPLACE : TARGET_MAKE, &code, &err);
        return status == TN_OK ? finish(o, spec->name, what) : code;
    }
    tn_status status = target_prepare(o->settings, spec, &prepared, &err);
    if (status == TN_OK)
        status = o->target->render(o->settings, &prepared.service, &files, &err);
    if (status == TN_OK) {
        code = show_files(&files, &prepared, what);
    } else {
        report(&err);
        code = misfit_code(status, &prepared);
    }
    target_files_finish(&files);
    target_prepared_finish(&prepared);
    return code;
}

int service_target_create(const target_flags *flags, args *a, const target_create *what)
{
    opened o;
    service_spec spec;
    const char *sets[STRINGS_MAX + 1];
    tn_error err = TN_ERROR_INIT;

    tn_status status = open_target(flags, a, &o, &err);
    if (status == TN_OK)
        status = make_spec(what->service, a->positional[0], sets, &spec, &err);
    int code = status == TN_OK ? create_on(&o, &spec, what) : report(&err);
    settings_destroy(o.settings);
    return code;
}

/* ---- update ---- */

/* The version that runs, since a name or an alias may mean another one by now: "chat@sha256:...". A path means itself.
 * Owned; NULL: out of memory. */
static char *pinned_model(const json_t *service)
{
    const char *model = service_text(service, "model"), *digest = service_text(service, "digest");
    char *pinned = NULL;

    if (!*digest)
        return strdup(model);
    if (strncmp(model, SETTINGS_REGISTRY, strlen(SETTINGS_REGISTRY)) == 0)
        model += strlen(SETTINGS_REGISTRY);
    return asprintf(&pinned, "%.*s@sha256:%s", (int)strcspn(model, "@:"), model, digest) < 0 ? NULL : pinned;
}

static uint32_t count_of(const json_t *service, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(service, key));
}

/* What no flag says is as it is. sets: texts of the flags, else of the service. */
static tn_status make_changed_spec(const service_flags *f, const json_t *service, const char *pinned,
                                   const char *sets[STRINGS_MAX + 1], service_spec *ret_spec, tn_error *err)
{
    service_flags all = *f;
    const json_t *settings = json_object_get(service, "settings");

    all.model = f->model ? f->model : pinned;
    all.pool = f->pool ? f->pool : service_text(service, "pool");
    if (f->gpus == -1 && !f->pool) /* another pool has other devices */
        all.gpus = count_of(service, "gpus");
    if (f->min == -1)
        all.min = count_of(service, "min");
    if (f->max == -1)
        all.max = count_of(service, "max");
    tn_status status = make_spec(&all, service_text(service, "name"), sets, ret_spec, err);
    if (status != TN_OK || f->sets.count)
        return status;
    for (size_t i = 0; i < json_array_size(settings) && i < STRINGS_MAX; i++) {
        sets[i] = json_string_value(json_array_get(settings, i));
        sets[i + 1] = NULL;
    }
    return TN_OK;
}

static int update_on(const opened *o, const service_flags *f, const json_t *service, const target_create *what)
{
    const char *sets[STRINGS_MAX + 1];
    service_spec spec;
    tn_error err = TN_ERROR_INIT;
    int code = EXIT_FAILURE;
    char *pinned = pinned_model(service);

    tn_status status = pinned ? make_changed_spec(f, service, pinned, sets, &spec, &err)
                              : tn_fail(&err, TN_E_MEMORY, "a service's model");
    if (status != TN_OK)
        report(&err);
    else
        status = service_target_submit(o->settings, o->target, &spec, f->model ? NULL : service_text(service, "model"),
                                       TARGET_UPDATE, &code, &err);
    free(pinned);
    return status == TN_OK ? finish(o, service_text(service, "name"), what) : code;
}

int service_target_update(const target_flags *flags, args *a, const target_create *what)
{
    opened o;
    json_t *service = NULL;
    tn_error err = TN_ERROR_INIT;

    tn_status status = open_target(flags, a, &o, &err);
    if (status == TN_OK)
        status = o.target->show(o.settings, a->positional[0], &service, &err);
    int code = status == TN_OK ? update_on(&o, what->service, service, what) : report(&err);
    json_decref(service);
    settings_destroy(o.settings);
    return code;
}

/* ---- show ---- */

int service_target_list(const target_flags *flags, args *a, bool json)
{
    opened o;
    json_t *services = NULL;
    tn_error err = TN_ERROR_INIT;

    tn_status status = open_target(flags, a, &o, &err);
    if (status == TN_OK)
        status = o.target->list(o.settings, &services, &err);
    settings_destroy(o.settings);
    if (status != TN_OK)
        return report(&err);
    json_t *list = json_pack("{s:o}", "services", services);
    (json ? service_print_json : service_print_list)(list);
    json_decref(list);
    return 0;
}

int service_target_status(const target_flags *flags, args *a, const char *state, double timeout, bool json)
{
    opened o;
    json_t *service = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = 0;

    tn_status status = open_target(flags, a, &o, &err);
    if (status == TN_OK && state)
        code = service_target_follow(o.settings, o.target, a->positional[0], state, timeout, &service);
    else if (status == TN_OK)
        status = o.target->show(o.settings, a->positional[0], &service, &err);
    if (status != TN_OK)
        code = report(&err);
    if (service)
        (json ? service_print_json : service_print_status)(service);
    json_decref(service);
    settings_destroy(o.settings);
    return code;
}

/* "chat-1 | text", where there may be several; what a terminal would obey becomes '?'. */
static bool print_log_line(void *ctx, const char *instance, uint64_t time_ms, const char *text, size_t bytes)
{
    const bool *one = ctx;
    (void)time_ms;

    if (!text)
        return output_flush();
    char *line = strndup(text, bytes);
    if (!line)
        return false;
    if (!*one)
        printf("%s | ", instance);
    print_plain(stdout, line);
    putchar('\n');
    free(line);
    return output_flush();
}

int service_target_logs(const target_flags *flags, args *a, const char *instance, double since, bool follow)
{
    opened o;
    bool one = instance != NULL;
    const log_sink sink = {&one, print_log_line};
    tn_error err = TN_ERROR_INIT;

    tn_status status = open_target(flags, a, &o, &err);
    if (status == TN_OK)
        status = o.target->logs(o.settings, a->positional[0], instance, (uint64_t)(since * 1000), follow, &sink, &err);
    settings_destroy(o.settings);
    return status == TN_OK ? 0 : report(&err);
}

/* ---- change ---- */

static tn_status change(const opened *o, const char *name, target_verb verb, int64_t min, int64_t max, tn_error *err)
{
    uint32_t low = SERVICE_UNCHANGED, high = SERVICE_UNCHANGED;
    tn_status status = TN_OK;

    switch (verb) {
    case TARGET_SUSPEND:
        return o->target->suspend(o->settings, name, err);
    case TARGET_RESUME:
        return o->target->resume(o->settings, name, err);
    case TARGET_DELETE:
        return o->target->remove(o->settings, name, err);
    case TARGET_SCALE:
        status = take_count("min", min, SERVICE_UNCHANGED, &low, err);
        if (status == TN_OK)
            status = take_count("max", max, SERVICE_UNCHANGED, &high, err);
        return status == TN_OK ? o->target->scale(o->settings, name, low, high, err) : status;
    }
    return status;
}

static int print_changed(json_t *service, const char *name, bool json)
{
    if (!service && json)
        service = json_pack("{s:s, s:s}", "name", name, "state", "DELETED");
    if (service)
        (json ? service_print_json : service_print_line)(service);
    else
        printf("%s is gone\n", name);
    json_decref(service);
    return 0;
}

int service_target_change(const target_flags *flags, args *a, target_verb verb, int64_t min, int64_t max, bool no_wait,
                          bool json)
{
    static const char *const states[] = {"SUSPENDED", "READY", "READY", "DELETING"};
    const char *name = a->positional[0];
    opened o;
    json_t *service = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = 0;

    tn_status status = open_target(flags, a, &o, &err);
    if (status == TN_OK)
        status = change(&o, name, verb, min, max, &err);
    if (status == TN_OK && !no_wait) {
        code = service_target_follow(o.settings, o.target, name, states[verb], -1, &service);
    } else if (status == TN_OK) {
        status = o.target->show(o.settings, name, &service, &err);
        if (status == TN_E_NOT_FOUND && verb == TARGET_DELETE) /* it has gone meanwhile */
            status = TN_OK;
    }
    if (status != TN_OK)
        code = report(&err);
    else if (code == 0)
        code = print_changed(service, name, json);
    else
        json_decref(service);
    settings_destroy(o.settings);
    return code;
}
