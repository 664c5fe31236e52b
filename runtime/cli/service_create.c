/* service_create.c: `tenon service create|update`. */
#include "cli/service_target.h"

#include <string.h>

/* ---- plans ---- */

static void print_bytes(const json_t *plan, const char *key, const char *label)
{
    const json_t *bytes = json_object_get(plan, key);
    char text[16];

    if (json_is_integer(bytes))
        printf("  %-20s %12s\n", label, plan_format_bytes((uint64_t)json_integer_value(bytes), text));
}

static void print_plan(const json_t *plan)
{
    printf("it fits: %s\n", service_text(plan, "strategy"));
    print_bytes(plan, "needed_bytes", "needed");
    print_bytes(plan, "had_bytes", "free");
    print_bytes(plan, "resident", "resident, per device");
    printf("  %-20s %12lld\n", "max_model_len", (long long)json_integer_value(json_object_get(plan, "max_model_len")));
}

/* ---- create ---- */

typedef struct create_flags {
    daemon_flags daemon;
    service_flags service;
    target_flags target;
    const char *output;
    bool no_wait, dry_run, replace, json;
} create_flags;

/* Waits for it, unless that is not wanted, and tells what has become. *service: moved in, and out. */
static int finish(daemon_client *client, const create_flags *f, const char *name, json_t **service)
{
    int code = 0;

    if (!f->no_wait) {
        json_decref(*service);
        code = service_follow(client, name, "READY", -1, service);
    }
    if (*service && f->json)
        service_print_json(*service);
    else if (*service && code == 0)
        service_print_line(*service);
    return code;
}

static int create(daemon_client *client, const create_flags *f, const char *name, json_t *body)
{
    json_t *answer = NULL;

    json_object_set_new(body, "name", json_string(name));
    if (f->replace)
        json_object_set_new(body, "replace", json_true());
    if (f->dry_run)
        json_object_set_new(body, "dry_run", json_true());
    int code = service_ask(client, "POST", "/services", body, &answer);
    if (code < 0 && f->dry_run) {
        (f->json ? service_print_json : print_plan)(answer);
        code = 0;
    } else if (code < 0) {
        code = finish(client, f, name, &answer);
    }
    json_decref(answer);
    return code;
}

static int update(daemon_client *client, const create_flags *f, const char *name, json_t *body)
{
    char path[DAEMON_PATH_BYTES];
    json_t *answer = NULL;

    if (!daemon_path(path, "/services", name, "")) {
        fprintf(stderr, "tenon service update: the name is too long\n");
        return EXIT_USAGE;
    }
    int code = service_ask(client, "PATCH", path, body, &answer);
    if (code < 0)
        code = finish(client, f, name, &answer);
    json_decref(answer);
    return code;
}

static int run_change(const command *command, const create_flags *f, const args *a,
                      int (*change)(daemon_client *, const create_flags *, const char *, json_t *))
{
    daemon_client *client = NULL;
    json_t *body = NULL;
    tn_error err = TN_ERROR_INIT;

    if (!service_body(command, &f->service, &body))
        return EXIT_USAGE;
    int code = daemon_client_open(&f->daemon, a, &client, &err) == TN_OK ? change(client, f, a->positional[0], body)
                                                                         : report(&err);
    daemon_client_close(client);
    json_decref(body);
    return code;
}

static int change_on_target(const create_flags *f, args *a,
                            int (*change)(const target_flags *, args *, const target_create *))
{
    const target_create what = {.service = &f->service,
                                .no_wait = f->no_wait,
                                .dry_run = f->dry_run,
                                .replace = f->replace,
                                .json = f->json,
                                .output = f->output};
    return change(&f->target, a, &what);
}

static int run_create(const command *command, int argc, char **argv)
{
    create_flags f = {.service = SERVICE_FLAGS_INIT};
    const flag flags[] = {
        SERVICE_FLAGS(f.service),
        {"no-wait", NULL, FLAG_SWITCH, &f.no_wait, NULL, "do not wait until it is READY"},
        {"dry-run", NULL, FLAG_SWITCH, &f.dry_run, NULL,
         "only plan: does it fit there now? with --target: print files"},
        {"replace", NULL, FLAG_SWITCH, &f.replace, NULL, "update it where there is one of that name"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "print what it has become, or the plan, as JSON"},
        TARGET_FLAGS(f.target),
        {"output", "DIR", FLAG_STRING, &f.output, NULL, "with --target: write its files there, and submit nothing"},
        DAEMON_FLAGS(f.daemon),
    };
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!f.service.model || !f.service.pool) {
        fprintf(stderr,
                "tenon service create: --model and --pool are needed; `tenon service create --help` explains it\n");
        code = EXIT_USAGE;
    } else if (!f.target.name && f.output) {
        fprintf(stderr, "tenon service create: --output goes with --target\n");
        code = EXIT_USAGE;
    } else if (service_target_check(command, &f.target) >= 0) {
        code = EXIT_USAGE;
    } else if (f.target.name) {
        code = change_on_target(&f, &a, service_target_create);
    } else {
        code = run_change(command, &f, &a, create);
    }
    args_finish(&a);
    return code;
}

static int run_update(const command *command, int argc, char **argv)
{
    create_flags f = {.service = SERVICE_FLAGS_INIT};
    const flag flags[] = {
        SERVICE_FLAGS(f.service),
        {"no-wait", NULL, FLAG_SWITCH, &f.no_wait, NULL, "do not wait until it is READY"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "print what it has become as JSON"},
        TARGET_FLAGS(f.target),
        DAEMON_FLAGS(f.daemon),
    };
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    code = service_target_check(command, &f.target);
    if (code < 0 && f.target.name)
        code = change_on_target(&f, &a, service_target_update);
    else if (code < 0)
        code = run_change(command, &f, &a, update);
    args_finish(&a);
    return code;
}

const command command_service_create = {
    .name = "service create",
    .arguments = "NAME --model MODEL --pool POOL",
    .summary = "a model under a name, on a pool; waits until it is ready",
    .help =
        "Memory is reserved before anything is loaded. Exit code 0: it is ready; 1: it has failed; 2: it does not "
        "fit,\n"
        "but each of the changes that are printed makes it fit; 3: none that is known does.\n"
        "--target puts it on a cluster instead, planned for the pool as it is described, here or not.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_create,
};

const command command_service_update = {
    .name = "service update",
    .arguments = "NAME",
    .summary = "change a service without dropping a request",
    .help =
        "Gives what is to be another; --set takes the place of all settings. New instances are started beside the old\n"
        "ones, which finish what runs there: there must be memory for both (exit codes 2 and 3 as of create).\n"
        "--model NAME:ALIAS follows an alias to where it points now.\n"
        "With --target the cluster must have room for both, too: Kubernetes changes pod by pod; of Slurm jobs the old\n"
        "ones end when this command, or a later `tenon service status`, has seen the new ones ready.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_update,
};
