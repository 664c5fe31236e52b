/* service_show.c: `tenon service list|status|logs`. */
#include "cli/service_target.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long number(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* ---- list ---- */

void service_print_list(const json_t *list)
{
    size_t i;
    json_t *service;

    printf("%-20s %-10s %-28s %-12s %-9s %s\n", "name", "state", "model", "pool", "instances", "message");
    json_array_foreach(json_object_get(list, "services"), i, service)
    {
        char range[32];
        snprintf(range, sizeof range, "%zu/%lld-%lld", json_array_size(json_object_get(service, "instances")),
                 number(service, "min"), number(service, "max"));
        printf("%-20s %-10s %-28s %-12s %-9s ", service_text(service, "name"), service_text(service, "state"),
               service_text(service, "model"), service_text(service, "pool"), range);
        print_plain(stdout, service_text(service, "message"));
        putchar('\n');
    }
}

static int run_list(const command *command, int argc, char **argv)
{
    daemon_flags daemon = {0};
    target_flags target = {0};
    bool json = false;
    const flag flags[] = {
        {"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object"}, TARGET_FLAGS(target), DAEMON_FLAGS(daemon)};
    args a;
    daemon_client *client = NULL;
    json_t *list = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    code = service_target_check(command, &target);
    if (code < 0 && target.name)
        code = service_target_list(&target, &a, json);
    if (code >= 0) {
        args_finish(&a);
        return code;
    }
    code = daemon_client_open(&daemon, &a, &client, &err) == TN_OK
               ? service_ask(client, "GET", "/services", NULL, &list)
               : report(&err);
    if (code < 0) {
        (json ? service_print_json : service_print_list)(list);
        code = 0;
    }
    json_decref(list);
    daemon_client_close(client);
    args_finish(&a);
    return code;
}

/* ---- status ---- */

static void print_member(const json_t *service, const char *key)
{
    const json_t *value = json_object_get(service, key);

    if (!value || json_is_null(value) || (json_is_string(value) && !*json_string_value(value)))
        return;
    printf("  %-14s ", key);
    if (json_is_string(value))
        print_plain(stdout, json_string_value(value));
    else
        json_dumpf(value, stdout, JSON_ENCODE_ANY);
    putchar('\n');
}

/* Of a cluster: where it answers. */
static void print_remote(const json_t *instance)
{
    const char *address = service_text(instance, "address");

    printf("  %-14s %-10s ", service_text(instance, "id"), service_text(instance, "state"));
    print_plain(stdout, *address ? address : "no address yet");
    printf(" on ");
    print_plain(stdout, *service_text(instance, "node") ? service_text(instance, "node") : "no node yet");
    printf(", %lld restarts  ", number(instance, "restart_count"));
    print_plain(stdout, service_text(instance, "message"));
    putchar('\n');
}

static void print_instance(const json_t *instance)
{
    char memory[16];

    if (json_object_get(instance, "address")) {
        print_remote(instance);
        return;
    }

    printf("  %-14s %-10s pid %lld, %s, %lld restarts  ", service_text(instance, "id"), service_text(instance, "state"),
           number(instance, "pid"), plan_format_bytes((uint64_t)number(instance, "memory_bytes"), memory),
           number(instance, "restart_count"));
    print_plain(stdout, service_text(instance, "message"));
    putchar('\n');
}

void service_print_status(const json_t *service)
{
    static const char *const members[] = {
        "message", "progress", "exit_code",   "model",         "digest",       "target",    "pool",    "gpus",
        "min",     "max",      "autosuspend", "restart_count", "needed_bytes", "had_bytes", "running", "waiting"};
    size_t i;
    json_t *item;

    printf("%s: %s\n", service_text(service, "name"), service_text(service, "state"));
    for (size_t m = 0; m < sizeof members / sizeof *members; m++)
        print_member(service, members[m]);
    json_array_foreach(json_object_get(service, "settings"), i, item)
    {
        printf("  %-14s ", "setting");
        print_plain(stdout, json_string_value(item) ? json_string_value(item) : "");
        putchar('\n');
    }
    printf("instances: %zu\n", json_array_size(json_object_get(service, "instances")));
    json_array_foreach(json_object_get(service, "instances"), i, item) print_instance(item);
    if (json_array_size(json_object_get(service, "last_log")))
        printf("last lines of the log:\n");
    json_array_foreach(json_object_get(service, "last_log"), i, item)
    {
        fputs("  ", stdout);
        print_plain(stdout, json_string_value(item) ? json_string_value(item) : "");
        putchar('\n');
    }
}

static int ask_status(daemon_client *client, const char *name, const char *state, double timeout, json_t **ret_service)
{
    char path[DAEMON_PATH_BYTES];

    if (state)
        return service_follow(client, name, state, timeout, ret_service);
    if (!daemon_path(path, "/services", name, "")) {
        fprintf(stderr, "tenon service status: the name is too long\n");
        return EXIT_USAGE;
    }
    int code = service_ask(client, "GET", path, NULL, ret_service);
    return code < 0 ? 0 : code;
}

static int run_status(const command *command, int argc, char **argv)
{
    daemon_flags daemon = {0};
    target_flags target = {0};
    bool json = false;
    const char *state = NULL;
    double timeout = -1;
    const flag flags[] = {
        {"wait", "STATE", FLAG_STRING, &state, NULL, "until it is in that state, such as READY"},
        {"timeout", "SECONDS", FLAG_NUMBER, &timeout, NULL, "that --wait takes at most (default: no end)"},
        {"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object"},
        TARGET_FLAGS(target),
        DAEMON_FLAGS(daemon),
    };
    args a;
    daemon_client *client = NULL;
    json_t *service = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    code = service_target_check(command, &target);
    if (code < 0 && target.name)
        code = service_target_status(&target, &a, state, timeout, json);
    if (code >= 0) {
        args_finish(&a);
        return code;
    }
    code = daemon_client_open(&daemon, &a, &client, &err) == TN_OK
               ? ask_status(client, a.positional[0], state, timeout, &service)
               : report(&err);
    if (service)
        (json ? service_print_json : service_print_status)(service);
    json_decref(service);
    daemon_client_close(client);
    args_finish(&a);
    return code;
}

/* ---- logs ---- */

/* "90s", "10m", "2h", "1d": so long ago. False: none of them. */
static bool read_since(const char *text, double *ret_time)
{
    static const char letters[] = "smhd";
    static const double units[] = {1, 60, 3600, 86400};
    char *end;
    double count = strtod(text, &end);
    const char *letter = *end ? strchr(letters, *end) : NULL;

    if (end == text || !letter || end[1] || !(count >= 0 && count <= 1e6))
        return false;
    *ret_time = (double)time(NULL) - count * units[letter - letters];
    return true;
}

static bool make_log_path(char path[DAEMON_PATH_BYTES], const char *name, bool follow, const char *instance,
                          double since)
{
    char encoded[DAEMON_PATH_BYTES] = "", suffix[DAEMON_PATH_BYTES + 64];

    /* "?instance=" stands where a folder would: what follows the slash is the value. */
    if (instance && !daemon_path(encoded, "", instance, ""))
        return false;
    snprintf(suffix, sizeof suffix, "/logs?follow=%d&since=%.3f%s%s", follow, since, instance ? "&instance=" : "",
             instance ? encoded + 1 : "");
    return daemon_path(path, "/services", name, suffix);
}

static int print_logs(daemon_client *client, const char *path)
{
    daemon_answer answer = {0};
    tn_error err = TN_ERROR_INIT;

    if (daemon_print(client, path, &answer, &err) != TN_OK)
        return report(&err);
    int code = answer.code == 200 ? 0 : daemon_report(&answer);
    json_decref(answer.json);
    return code;
}

static int run_logs(const command *command, int argc, char **argv)
{
    daemon_flags daemon = {0};
    target_flags target = {0};
    bool follow = false;
    const char *instance = NULL, *since_text = NULL;
    double since = 0;
    const flag flags[] = {
        {"f", NULL, FLAG_SWITCH, &follow, NULL, "go on with what comes, until Ctrl-C"},
        {"instance", "ID", FLAG_STRING, &instance, NULL, "of this instance only, as `tenon service status` names it"},
        {"since", "AGO", FLAG_STRING, &since_text, NULL, "from so long ago on: 90s, 10m, 2h, 1d"},
        TARGET_FLAGS(target),
        DAEMON_FLAGS(daemon),
    };
    args a;
    char path[DAEMON_PATH_BYTES];
    daemon_client *client = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (since_text && !read_since(since_text, &since)) {
        fprintf(stderr, "tenon service logs: --since takes 90s, 10m, 2h or 1d, not '%s'\n", since_text);
        code = EXIT_USAGE;
    } else if (service_target_check(command, &target) >= 0) {
        code = EXIT_USAGE;
    } else if (target.name) {
        code = service_target_logs(&target, &a, instance, since, follow);
    } else if (!make_log_path(path, a.positional[0], follow, instance, since)) {
        fprintf(stderr, "tenon service logs: the name is too long\n");
        code = EXIT_USAGE;
    } else {
        code = daemon_client_open(&daemon, &a, &client, &err) == TN_OK ? print_logs(client, path) : report(&err);
    }
    daemon_client_close(client);
    args_finish(&a);
    return code;
}

const command command_service_list = {
    .name = "service list",
    .arguments = "",
    .summary = "all services with their states",
    .help = "Instances are told as those there are, and the least and the most that are wished for.\n" DAEMON_ADDRESS_HELP,
    .run = run_list,
};

const command command_service_status = {
    .name = "service status",
    .arguments = "NAME",
    .summary = "one service: state, reasons, instances, the end of its log",
    .help = "With --wait, exit code 1 says that it has failed, or that the time is over.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_status,
};

const command command_service_logs = {
    .name = "service logs",
    .arguments = "NAME",
    .summary = "what the engines of a service have written",
    .help = "Each line with its time and instance.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_logs,
};
