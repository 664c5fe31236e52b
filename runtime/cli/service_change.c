/* service_change.c: `tenon service suspend|resume|scale|delete`. */
#include "cli/service_target.h"

typedef struct change_flags {
    daemon_flags daemon;
    target_flags target;
    int64_t drain, min, max;
    bool no_wait, json;
} change_flags;
#define CHANGE_FLAGS_INIT                 \
    {                                     \
        .drain = -1, .min = -1, .max = -1 \
    }

/* What differs from one to the other. */
typedef struct change {
    const char *method, *verb; /* "POST", ":suspend" */
    const char *state;         /* that it comes to */
    target_verb on_target;
} change;

static const change suspending = {"POST", ":suspend", "SUSPENDED", TARGET_SUSPEND},
                    resuming = {"POST", ":resume", "READY", TARGET_RESUME},
                    scaling = {"POST", ":scale", "READY", TARGET_SCALE},
                    deleting = {"DELETE", "", "DELETING", TARGET_DELETE};

static json_t *scale_body(const change_flags *f)
{
    json_t *body = f->min != -1 || f->max != -1 ? json_object() : NULL;

    if (f->min != -1)
        json_object_set_new(body, "min", json_integer(f->min));
    if (f->max != -1)
        json_object_set_new(body, "max", json_integer(f->max));
    return body;
}

static int change_service(daemon_client *client, const change *change, const change_flags *f, const char *name)
{
    char path[DAEMON_PATH_BYTES], suffix[64];
    json_t *body = scale_body(f), *service = NULL;

    snprintf(suffix, sizeof suffix, f->drain >= 0 ? "%s?drain=%lld" : "%s", change->verb, (long long)f->drain);
    if (!daemon_path(path, "/services", name, suffix)) {
        fprintf(stderr, "tenon: the name is too long\n");
        json_decref(body);
        return EXIT_USAGE;
    }
    int code = service_ask(client, change->method, path, body, &service);
    json_decref(body);
    if (code >= 0)
        return code;
    code = 0;
    if (!f->no_wait && service) {
        json_decref(service);
        code = service_follow(client, name, change->state, -1, &service);
    }
    if (!service && code == 0 && f->json)
        service = json_pack("{s:s, s:s}", "name", name, "state", "DELETED");
    if (service)
        (f->json ? service_print_json : service_print_line)(service);
    else if (code == 0)
        printf("%s is gone\n", name);
    json_decref(service);
    return code;
}

/* A cluster drains as the service was made to. */
static int change_on_target(const change *change, const change_flags *f, args *a)
{
    if (f->drain < 0)
        return service_target_change(&f->target, a, change->on_target, f->min, f->max, f->no_wait, f->json);
    fprintf(stderr, "tenon: --drain does not go with --target: --set engine.drain_timeout of create says it there\n");
    return EXIT_USAGE;
}

static int run_with(const command *command, const change *change, const change_flags *f, args *a)
{
    daemon_client *client = NULL;
    tn_error err = TN_ERROR_INIT;

    int code = service_target_check(command, &f->target);
    if (code < 0 && f->target.name)
        code = change_on_target(change, f, a);
    if (code >= 0) {
        args_finish(a);
        return code;
    }
    code = daemon_client_open(&f->daemon, a, &client, &err) == TN_OK
               ? change_service(client, change, f, a->positional[0])
               : report(&err);
    daemon_client_close(client);
    args_finish(a);
    return code;
}

#define DRAIN_FLAG(f)                                                                                \
    {                                                                                                \
        "drain", "SECONDS", FLAG_INTEGER, &(f).drain, NULL, "that running requests get (default 30)" \
    }
#define NO_WAIT_FLAG(f)                                                                \
    {                                                                                  \
        "no-wait", NULL, FLAG_SWITCH, &(f).no_wait, NULL, "do not wait until it is so" \
    }
#define JSON_FLAG(f)                                                                   \
    {                                                                                  \
        "json", NULL, FLAG_SWITCH, &(f).json, NULL, "print what it has become as JSON" \
    }

static int run_suspend(const command *command, int argc, char **argv)
{
    change_flags f = CHANGE_FLAGS_INIT;
    const flag flags[] = {DRAIN_FLAG(f), NO_WAIT_FLAG(f), JSON_FLAG(f), TARGET_FLAGS(f.target), DAEMON_FLAGS(f.daemon)};
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    return code >= 0 ? code : run_with(command, &suspending, &f, &a);
}

static int run_resume(const command *command, int argc, char **argv)
{
    change_flags f = CHANGE_FLAGS_INIT;
    const flag flags[] = {NO_WAIT_FLAG(f), JSON_FLAG(f), TARGET_FLAGS(f.target), DAEMON_FLAGS(f.daemon)};
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    return code >= 0 ? code : run_with(command, &resuming, &f, &a);
}

static int run_scale(const command *command, int argc, char **argv)
{
    change_flags f = CHANGE_FLAGS_INIT;
    const flag flags[] = {{"min", "N", FLAG_INTEGER, &f.min, NULL, "instances at least"},
                          {"max", "N", FLAG_INTEGER, &f.max, NULL, "instances at most"},
                          NO_WAIT_FLAG(f),
                          JSON_FLAG(f),
                          TARGET_FLAGS(f.target),
                          DAEMON_FLAGS(f.daemon)};
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (f.min != -1 || f.max != -1)
        return run_with(command, &scaling, &f, &a);
    fprintf(stderr, "tenon service scale: --min, --max or both are needed\n");
    args_finish(&a);
    return EXIT_USAGE;
}

static int run_delete(const command *command, int argc, char **argv)
{
    change_flags f = CHANGE_FLAGS_INIT;
    const flag flags[] = {DRAIN_FLAG(f), NO_WAIT_FLAG(f), JSON_FLAG(f), TARGET_FLAGS(f.target), DAEMON_FLAGS(f.daemon)};
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    return code >= 0 ? code : run_with(command, &deleting, &f, &a);
}

const command command_service_suspend = {
    .name = "service suspend",
    .arguments = "NAME",
    .summary = "end its engines and free their memory; a request resumes it",
    .help = DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_suspend,
};

const command command_service_resume = {
    .name = "service resume",
    .arguments = "NAME",
    .summary = "start what is suspended, or try again what has failed",
    .help = DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_resume,
};

const command command_service_scale = {
    .name = "service scale",
    .arguments = "NAME",
    .summary = "how many instances, at least and at most",
    .help = DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_scale,
};

const command command_service_delete = {
    .name = "service delete",
    .arguments = "NAME",
    .summary = "end its engines and forget it",
    .help = "Running requests finish first, within --drain.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_delete,
};
