/* service.c: `tenon service COMMAND`: finds the sub-command; what they share. */
#include "cli/service.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static const command *const commands[] = {
    &command_service_create, &command_service_list,    &command_service_status,
    &command_service_logs,   &command_service_suspend, &command_service_resume,
    &command_service_scale,  &command_service_update,  &command_service_delete,
};
enum { COMMANDS = sizeof commands / sizeof *commands, VAIN_PAUSE_MS = 50 };

static int run_service(const command *command, int argc, char **argv)
{
    return command_family(command, commands, COMMANDS, argc, argv);
}

/* ---- what is asked ---- */

static bool add_setting(json_t *settings, const char *text)
{
    char key[256];
    const char *equals = strchr(text, '=');
    size_t bytes = equals ? (size_t)(equals - text) : 0;

    if (bytes == 0 || bytes >= sizeof key)
        return false;
    memcpy(key, text, bytes);
    key[bytes] = '\0';
    return json_object_set_new(settings, key, json_string(equals + 1)) == 0;
}

bool service_body(const command *command, const service_flags *f, json_t **ret_body)
{
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {{"gpus", f->gpus}, {"min", f->min}, {"max", f->max}, {"autosuspend", f->autosuspend}};
    json_t *body = json_object(), *settings = f->sets.count ? json_object() : NULL;

    if (f->model)
        json_object_set_new(body, "model", json_string(f->model));
    if (f->pool)
        json_object_set_new(body, "pool", json_string(f->pool));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value != -1)
            json_object_set_new(body, counts[i].name, json_integer(counts[i].value));
    for (uint32_t i = 0; i < f->sets.count; i++) {
        if (add_setting(settings, f->sets.at[i]))
            continue;
        fprintf(stderr, "tenon %s: --set takes KEY=VALUE, not '%s'\n", command->name, f->sets.at[i]);
        json_decref(settings);
        json_decref(body);
        return false;
    }
    if (settings)
        json_object_set_new(body, "settings", settings);
    *ret_body = body;
    return true;
}

/* *ret_code: of an answer. */
static int ask_for_code(daemon_client *client, const char *method, const char *path, const json_t *body,
                        uint32_t *ret_code, json_t **ret_json)
{
    daemon_answer answer = {0};
    tn_error err = TN_ERROR_INIT;

    if (daemon_ask(client, method, path, body, ADMIN_SECONDS, &answer, &err) != TN_OK)
        return report(&err);
    *ret_code = (uint32_t)answer.code;
    if (answer.code >= 200 && answer.code < 300) {
        *ret_json = answer.json;
        return -1;
    }
    int code = daemon_report(&answer);
    json_decref(answer.json);
    return code;
}

int service_ask(daemon_client *client, const char *method, const char *path, const json_t *body, json_t **ret_json)
{
    uint32_t code;
    return ask_for_code(client, method, path, body, &code, ret_json);
}

/* ---- answers ---- */

const char *service_text(const json_t *service, const char *key)
{
    const char *text = json_string_value(json_object_get(service, key));
    return text ? text : "";
}

void service_print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
}

static uint32_t ready_count(const json_t *service)
{
    size_t i;
    json_t *instance;
    uint32_t count = 0;

    json_array_foreach(json_object_get(service, "instances"), i, instance)
    {
        count += strcmp(service_text(instance, "state"), "READY") == 0;
    }
    return count;
}

/* Of what is READY the message says that it is. */
static void print_message(FILE *out, const char *before, const json_t *service)
{
    const char *message = service_text(service, "message");

    if (!*message || strcmp(service_text(service, "state"), "READY") == 0)
        return;
    fputs(before, out);
    print_plain(out, message);
}

void service_print_line(const json_t *service)
{
    print_plain(stdout, service_text(service, "name"));
    printf(" is %s on pool ", service_text(service, "state"));
    print_plain(stdout, service_text(service, "pool"));
    printf(", %u of %zu instances ready", ready_count(service), json_array_size(json_object_get(service, "instances")));
    print_message(stdout, ": ", service);
    putchar('\n');
}

/* ---- watching ---- */

typedef struct watch {
    bool terminal, drawn;
    char last[64]; /* what was told last: state, and tenths of the progress */
} watch;

static void clear_line(watch *w)
{
    if (w->drawn)
        fputs("\r\033[K", stderr);
    w->drawn = false;
}

/* One line, redrawn on a terminal; elsewhere a line for each state and each tenth of its progress. */
static void tell(watch *w, const json_t *service)
{
    const json_t *progress = json_object_get(service, "progress");
    const double share = json_number_value(progress);
    char text[64], stage[96] = "";

    if (json_is_number(progress))
        snprintf(stage, sizeof stage, " %3.0f %%", share * 100);
    snprintf(text, sizeof text, "%s %d", service_text(service, "state"), (int)(share * (w->terminal ? 100 : 10)));
    if (strcmp(text, w->last) == 0)
        return;
    strcpy(w->last, text);
    clear_line(w);
    print_plain(stderr, service_text(service, "name"));
    fprintf(stderr, ": %s%s", service_text(service, "state"), stage);
    print_message(stderr, "  ", service);
    if (!w->terminal)
        fputc('\n', stderr);
    w->drawn = w->terminal;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void print_log(const json_t *service)
{
    size_t i;
    json_t *line;

    json_array_foreach(json_object_get(service, "last_log"), i, line)
    {
        fputs("  ", stderr);
        print_plain(stderr, json_string_value(line) ? json_string_value(line) : "");
        fputc('\n', stderr);
    }
}

static int fail_service(const json_t *service, const char *name)
{
    fprintf(stderr, "tenon: %s has failed: ", name);
    print_plain(stderr, service_text(service, "message"));
    fputc('\n', stderr);
    print_log(service);
    return EXIT_FAILURE;
}

/* -1: not yet. What is DELETING is there as long as it can be asked. */
static int judge(const json_t *service, const char *name, const char *wanted, bool late)
{
    const char *state = service_text(service, "state");
    bool ready = strcmp(wanted, "READY") == 0;

    if (strcmp(wanted, "DELETING") == 0)
        return -1;
    if ((strcmp(state, wanted) == 0 && !(ready && late)) || (ready && strcmp(state, "SUSPENDED") == 0))
        return 0;
    return strcmp(state, "FAILED") == 0 ? fail_service(service, name) : -1;
}

int service_watch(service_asker ask, void *ctx, const char *name, const char *state, double seconds, json_t **ret_json)
{
    watch w = {.terminal = isatty(STDERR_FILENO)};
    const double end = now() + seconds;
    int code = -1;

    *ret_json = NULL;
    while (code < 0) {
        bool late = false;
        json_decref(*ret_json);
        *ret_json = NULL;
        code = ask(ctx, ret_json, &late);
        if (code >= 0)
            break;
        if (!*ret_json) /* gone */
            code = 0;
        else
            tell(&w, *ret_json);
        code = *ret_json ? judge(*ret_json, name, state, late) : code;
        if (code < 0 && seconds >= 0 && now() >= end) {
            clear_line(&w);
            fprintf(stderr, "tenon: after %.0f s %s is not %s but %s\n", seconds, name, state,
                    service_text(*ret_json, "state"));
            code = EXIT_FAILURE;
        }
    }
    clear_line(&w);
    return code;
}

typedef struct daemon_question {
    daemon_client *client;
    const char *name;
    bool for_ready, in_vain; /* in_vain: the daemon did not wait */
    char path[DAEMON_PATH_BYTES];
} daemon_question;

/* The daemon itself waits a moment for the state, and answers 202 when that is over. Else the state has come, or never
 * will: then an update has failed, or it is on its way to another state that ends at once all that wait. */
static int ask_daemon(void *ctx, json_t **ret_json, bool *ret_late)
{
    const struct timespec pause = {.tv_nsec = VAIN_PAUSE_MS * 1000000L};
    daemon_question *question = ctx;
    uint32_t code = 0;

    if (question->in_vain)
        nanosleep(&pause, NULL);
    int end = ask_for_code(question->client, "GET", question->path, NULL, &code, ret_json);
    *ret_late = code == 202;
    question->in_vain = code == 200;
    if (end < 0 && code == 200 && question->for_ready && strcmp(service_text(*ret_json, "state"), "DEGRADED") == 0)
        return fail_service(*ret_json, question->name);
    return end;
}

int service_follow(daemon_client *client, const char *name, const char *state, double seconds, json_t **ret_json)
{
    daemon_question question = {.client = client, .name = name, .for_ready = strcmp(state, "READY") == 0};
    char suffix[64];

    snprintf(suffix, sizeof suffix, "?wait=%d&state=%.40s", WAIT_SECONDS, state);
    *ret_json = NULL;
    if (!daemon_path(question.path, "/services", name, suffix)) {
        fprintf(stderr, "tenon: the name is too long\n");
        return EXIT_FAILURE;
    }
    return service_watch(ask_daemon, &question, name, state, seconds, ret_json);
}

const command command_service = {
    .name = "service",
    .arguments = "COMMAND ...",
    .summary = "models that a daemon runs: create, list, status, logs, suspend, resume, scale, update, delete",
    .help =
        "A service is a model under a name on a pool of devices, with as many engine processes as are wished for. The\n"
        "daemon (`tenon daemon`) keeps them running and sends requests to them; these commands tell it what is wished.",
    .positional_max = ARGS_POSITIONAL_MAX,
    .run = run_service,
};
