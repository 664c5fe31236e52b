/* batch_daemon.c: see batch_daemon.h. */
#include "cli/batch_daemon.h"

#include "cli/service.h"

static long long count_of(const json_t *job, const char *name)
{
    return (long long)json_integer_value(json_object_get(json_object_get(job, "counts"), name));
}

static void print_job(const json_t *job)
{
    print_plain(stdout, service_text(job, "id"));
    printf("  %s  ", service_text(job, "state"));
    print_plain(stdout, service_text(job, "service"));
    printf("  %lld of %lld rows answered, %lld failed", count_of(job, "answered"), count_of(job, "rows"),
           count_of(job, "failed"));
    if (json_is_string(json_object_get(job, "message"))) {
        printf("  ");
        print_plain(stdout, service_text(job, "message"));
    }
    putchar('\n');
}

/* Asks once; -1 with *ret_json, or the exit code. */
static int ask(const daemon_flags *daemon, const args *args, const char *method, const char *path, json_t **ret_json)
{
    daemon_client *client = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = daemon_client_open(daemon, args, &client, &err) == TN_OK
                   ? service_ask(client, method, path, NULL, ret_json)
                   : report(&err);

    daemon_client_close(client);
    return code;
}

int batch_daemon_list(const daemon_flags *daemon, const args *args, bool json)
{
    json_t *list = NULL, *job;
    size_t i;
    int code = ask(daemon, args, "GET", "/jobs", &list);

    if (code >= 0)
        return code;
    if (json)
        service_print_json(list);
    else
        json_array_foreach(json_object_get(list, "jobs"), i, job) print_job(job);
    json_decref(list);
    return 0;
}

/* GET or POST of one job, whose answer is printed. */
static int ask_job(const daemon_flags *daemon, const args *args, const char *method, const char *job, const char *verb,
                   bool json)
{
    char path[DAEMON_PATH_BYTES];
    json_t *shown = NULL;

    if (!daemon_path(path, "/jobs", job, verb)) {
        fprintf(stderr, "tenon: '%.64s...' is too long for a job's id\n", job);
        return EXIT_USAGE;
    }
    int code = ask(daemon, args, method, path, &shown);
    if (code >= 0)
        return code;
    (json ? service_print_json : print_job)(shown);
    json_decref(shown);
    return 0;
}

int batch_daemon_status(const daemon_flags *daemon, const args *args, const char *job, bool json)
{
    return ask_job(daemon, args, "GET", job, "", json);
}

int batch_daemon_cancel(const daemon_flags *daemon, const args *args, const char *job)
{
    return ask_job(daemon, args, "POST", job, ":cancel", false);
}
