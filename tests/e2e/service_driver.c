/* service_driver.c: a daemon without a door: commands on standard input, one JSON object a line on standard output.
 *
 *   service_driver FILE.ini PROGRAM
 *
 * {"do": "race" (specs: all at once; with "resume", "update" or "scale" that is done instead) | "create", "spec":
 * {...}, "replace", "dry_run"} | "update" (spec) | "scale" (name, min, max, ms: waited for at once) | "suspend",
 * "resume", "delete" (name, drain) | "wait" (name, state, ms) | "show" (name) | "list" | "pools" | "logs" (name, since)
 * | "follow" (name), "followed" and "unfollow": a log as it grows, and its lines so far | "ask" (name, tokens): one
 * request through the gateway | "flood" (name, count, leave): as many at once from one client, which leaves without its
 * answers if it is to | "load" (name, threads, tokens) and "unload": requests without end, and what became of them |
 * "section" (name): the spec of [service NAME], created or updated | "descriptors" | "heap": bytes that are allocated.
 * The answer: {"status", "message", "code", "result"}. At the end of its input it closes and leaves engines running.
 */
#include "gateway/gateway.h"
#include "service/services.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 16, LINE_MAX_BYTES = 1 << 16 };

static services *all;
static gateway *door;
static settings *base;

/* ---- requests ---- */

typedef struct answer {
    tn_status status;
    uint64_t tokens;
    char message[512];
} answer;

/* The next end of a request. */
static void pull_one(tn_client *client, answer *ret_answer)
{
    for (;;) {
        tn_event event = {.struct_size = sizeof event};
        struct pollfd polled = {gateway_engine_table.event_fd(client), POLLIN, 0};
        poll(&polled, 1, -1);
        if (gateway_engine_table.poll(client, &event, sizeof event, 1) == 0 || event.kind != TN_EVENT_DONE)
            continue;
        ret_answer->status = event.status;
        ret_answer->tokens = event.generated_tokens;
        snprintf(ret_answer->message, sizeof ret_answer->message, "%s", event.text ? event.text : "");
        return;
    }
}

static answer ask(const char *name, uint32_t tokens)
{
    static const int32_t prompt[] = {1, 2, 3, 4};
    const tn_request request = {.struct_size = sizeof request,
                                .flags = TN_REQ_IGNORE_EOS,
                                .token = prompt,
                                .token_count = 4,
                                .max_new = tokens};
    tn_error err = TN_ERROR_INIT;
    answer answer = {.status = TN_OK};
    tn_models *models = gateway_models(door);
    tn_engine *engine = NULL;
    tn_client *client = NULL;
    uint64_t id;

    answer.status = gateway_models_table.find(models, name, &engine, &err);
    if (answer.status == TN_OK)
        answer.status = gateway_engine_table.client_open(engine, 64, &client, &err);
    if (answer.status == TN_OK)
        answer.status = gateway_engine_table.submit(client, &request, &id, &err);
    if (answer.status == TN_OK)
        pull_one(client, &answer);
    else
        snprintf(answer.message, sizeof answer.message, "%s", err.msg);
    if (client)
        gateway_engine_table.client_close(client);
    gateway_models_table.release(models, engine);
    return answer;
}

/* How many of `count` requests of one client came to a good end, and what the last one was told that did not. */
static json_t *flood(const char *name, uint32_t count, bool leaves)
{
    static const int32_t prompt[] = {1, 2, 3, 4};
    const tn_request request = {
        .struct_size = sizeof request, .flags = TN_REQ_IGNORE_EOS, .token = prompt, .token_count = 4, .max_new = 1};
    tn_error err = TN_ERROR_INIT;
    tn_models *models = gateway_models(door);
    tn_engine *engine = NULL;
    tn_client *client = NULL;
    answer one = {.status = TN_OK};
    uint32_t good = 0, taken = 0;
    uint64_t id;

    if (gateway_models_table.find(models, name, &engine, &err) == TN_OK &&
        gateway_engine_table.client_open(engine, 64, &client, &err) == TN_OK)
        while (taken < count && gateway_engine_table.submit(client, &request, &id, &err) == TN_OK)
            taken++;
    for (uint32_t done = 0; done < taken && !leaves; done++) {
        pull_one(client, &one);
        good += one.status == TN_OK;
        if (one.status != TN_OK)
            tn_fail(&err, one.status, "%s", one.message);
    }
    if (client)
        gateway_engine_table.client_close(client);
    gateway_models_table.release(models, engine);
    return json_pack("{s:i, s:i, s:s}", "taken", (int)taken, "good", (int)good, "message", err.msg);
}

static struct load {
    pthread_t threads[THREADS_MAX];
    uint32_t count, tokens;
    char name[80];
    pthread_mutex_t lock;
    bool stops;
    uint64_t good, bad;
    char message[512];
} load = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *ask_on(void *ctx)
{
    (void)ctx;
    for (bool stops = false; !stops;) {
        answer one = ask(load.name, load.tokens);
        bool good = one.status == TN_OK && one.tokens == load.tokens;
        pthread_mutex_lock(&load.lock);
        *(good ? &load.good : &load.bad) += 1;
        if (!good)
            memcpy(load.message, one.message, sizeof load.message);
        stops = load.stops;
        pthread_mutex_unlock(&load.lock);
    }
    return NULL;
}

static void start_load(const char *name, uint32_t threads, uint32_t tokens)
{
    load.stops = false;
    load.good = load.bad = 0;
    load.tokens = tokens;
    load.message[0] = '\0';
    snprintf(load.name, sizeof load.name, "%s", name);
    for (load.count = 0; load.count < threads && load.count < THREADS_MAX; load.count++)
        TN_ASSERT(pthread_create(&load.threads[load.count], NULL, ask_on, NULL) == 0);
}

static json_t *end_load(void)
{
    pthread_mutex_lock(&load.lock);
    load.stops = true;
    pthread_mutex_unlock(&load.lock);
    for (uint32_t i = 0; i < load.count; i++)
        pthread_join(load.threads[i], NULL);
    load.count = 0;
    return json_pack("{s:I, s:I, s:s}", "good", (json_int_t)load.good, "bad", (json_int_t)load.bad, "message",
                     load.message);
}

/* ---- commands ---- */

static const char *text_of(const json_t *command, const char *key)
{
    return json_string_value(json_object_get(command, key));
}

static uint32_t number_of(const json_t *command, const char *key, uint32_t otherwise)
{
    const json_t *value = json_object_get(command, key);
    return value ? (uint32_t)json_integer_value(value) : otherwise;
}

static service_spec spec_of(const json_t *object, const char **sets, bool changes)
{
    const json_t *list = json_object_get(object, "settings");
    service_spec spec = {.name = text_of(object, "name"),
                         .model = text_of(object, "model"),
                         .pool = text_of(object, "pool"),
                         .gpus = number_of(object, "gpus", changes ? SERVICE_UNCHANGED : 0),
                         .min_instances = number_of(object, "min", changes ? SERVICE_UNCHANGED : 0),
                         .max_instances = number_of(object, "max", changes ? SERVICE_UNCHANGED : 1),
                         .autosuspend_s = number_of(object, "autosuspend", changes ? SERVICE_UNCHANGED : 1800),
                         .sets = list || !changes ? sets : NULL};
    size_t i;
    for (i = 0; i < json_array_size(list) && i < SERVICE_SETS_MAX; i++)
        sets[i] = json_string_value(json_array_get(list, i));
    sets[i] = NULL;
    return spec;
}

typedef struct racer {
    pthread_t thread;
    json_t *spec, *plan;
    tn_status status;
    tn_error err;
} racer;

static void *race_one(void *ctx)
{
    racer *racer = ctx;
    const char *sets[SERVICE_SETS_MAX + 1];
    service_spec spec = spec_of(racer->spec, sets, false);
    if (json_is_true(json_object_get(racer->spec, "resume")))
        racer->status = services_do(all, spec.name, SERVICE_RESUME, 0, &racer->err);
    else if (json_is_true(json_object_get(racer->spec, "scale")))
        racer->status = services_scale(all, spec.name, spec.min_instances, spec.max_instances, &racer->err);
    else if (json_is_true(json_object_get(racer->spec, "update"))) {
        spec = spec_of(racer->spec, sets, true);
        racer->status = services_update(all, spec.name, &spec, &racer->plan, &racer->err);
    } else
        racer->status = services_create(all, &spec, false, false, &racer->plan, &racer->err);
    return NULL;
}

/* All at once. */
static json_t *race(const json_t *specs)
{
    racer racers[THREADS_MAX] = {{.status = TN_OK}};
    json_t *answers = json_array();
    size_t count = json_array_size(specs) < THREADS_MAX ? json_array_size(specs) : THREADS_MAX;
    for (size_t i = 0; i < count; i++) {
        racers[i] = (racer){.spec = json_array_get(specs, i), .err = TN_ERROR_INIT};
        TN_ASSERT(pthread_create(&racers[i].thread, NULL, race_one, &racers[i]) == 0);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(racers[i].thread, NULL);
        json_array_append_new(answers, json_pack("{s:i, s:s, s:O?}", "status", (int)racers[i].status, "message",
                                                 racers[i].err.msg, "plan", racers[i].plan));
        json_decref(racers[i].plan);
    }
    return answers;
}

static bool add_line(void *ctx, const char *instance, uint64_t time_ms, const char *text, size_t bytes)
{
    if (text)
        json_array_append_new(
            ctx, json_pack("{s:s, s:I, s:s%}", "instance", instance, "time", (json_int_t)time_ms, "text", text, bytes));
    return true;
}

static struct follower {
    pthread_t thread;
    char name[80];
    pthread_mutex_t lock;
    json_t *lines;
    bool stops;
} follower = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool add_followed(void *ctx, const char *instance, uint64_t time_ms, const char *text, size_t bytes)
{
    (void)ctx;
    pthread_mutex_lock(&follower.lock);
    add_line(follower.lines, instance, time_ms, text, bytes);
    bool goes_on = !follower.stops;
    pthread_mutex_unlock(&follower.lock);
    return goes_on;
}

static void *follow_on(void *ctx)
{
    const log_sink sink = {NULL, add_followed};
    (void)ctx;
    services_logs(all, follower.name, NULL, 0, true, &sink, NULL);
    return NULL;
}

static void start_following(const char *name)
{
    snprintf(follower.name, sizeof follower.name, "%s", name);
    follower.stops = false;
    follower.lines = json_array();
    TN_ASSERT(pthread_create(&follower.thread, NULL, follow_on, NULL) == 0);
}

/* A copy of the lines so far. */
static json_t *list_followed(void)
{
    pthread_mutex_lock(&follower.lock);
    json_t *lines = json_deep_copy(follower.lines);
    pthread_mutex_unlock(&follower.lock);
    return lines;
}

static json_t *end_following(void)
{
    pthread_mutex_lock(&follower.lock);
    follower.stops = true;
    pthread_mutex_unlock(&follower.lock);
    pthread_join(follower.thread, NULL);
    return follower.lines;
}

static tn_status section(const char *name, tn_error *err)
{
    char full[100];
    service_spec spec;
    const char **sets = NULL;
    snprintf(full, sizeof full, "service %s", name);
    tn_status status = service_spec_of_section(base, full, &spec, &sets, err);
    if (status == TN_OK)
        status = services_create(all, &spec, true, false, NULL, err);
    free(sets);
    return status;
}

static json_int_t count_descriptors(void)
{
    json_int_t count = 0;
    DIR *entries = opendir("/proc/self/fd");
    while (entries && readdir(entries))
        count++;
    closedir(entries);
    return count - 3; /* ".", "..", and the folder itself */
}

/* In use. 0 where a sanitizer's allocator takes the place of the C library's. */
static json_int_t count_heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return (json_int_t)(info.uordblks + info.hblkhd);
}

static tn_status change(const json_t *command, const char *what, json_t **ret_result, tn_error *err)
{
    const char *name = text_of(command, "name"), *sets[SERVICE_SETS_MAX + 1];
    const json_t *object = json_object_get(command, "spec");
    bool is_create = strcmp(what, "create") == 0;
    if (is_create || strcmp(what, "update") == 0) {
        service_spec spec = spec_of(object, sets, !is_create);
        return is_create ? services_create(all, &spec, json_is_true(json_object_get(command, "replace")),
                                           json_is_true(json_object_get(command, "dry_run")), ret_result, err)
                         : services_update(all, spec.name, &spec, ret_result, err);
    }
    if (strcmp(what, "scale") == 0) {
        const uint32_t ms = number_of(command, "ms", 0);
        tn_status status = services_scale(all, name, number_of(command, "min", SERVICE_UNCHANGED),
                                          number_of(command, "max", SERVICE_UNCHANGED), err);
        return status == TN_OK && ms ? services_wait(all, name, SERVICE_READY, ms, ret_result, err) : status;
    }
    if (strcmp(what, "section") == 0)
        return section(name, err);
    service_verb verb = strcmp(what, "suspend") == 0  ? SERVICE_SUSPEND
                        : strcmp(what, "resume") == 0 ? SERVICE_RESUME
                                                      : SERVICE_DELETE;
    return services_do(all, name, verb, number_of(command, "drain", 10), err);
}

static tn_status look(const json_t *command, const char *what, json_t **ret_result, tn_error *err)
{
    const char *name = text_of(command, "name");
    service_state state = SERVICE_READY;
    if (strcmp(what, "wait") == 0) {
        service_state_parse(text_of(command, "state"), &state);
        return services_wait(all, name, state, number_of(command, "ms", 30000), ret_result, err);
    }
    if (strcmp(what, "show") == 0)
        return services_show(all, name, ret_result, err);
    if (strcmp(what, "list") == 0)
        *ret_result = services_list(all);
    else if (strcmp(what, "pools") == 0)
        *ret_result = services_pools(all);
    else if (strcmp(what, "descriptors") == 0)
        *ret_result = json_integer(count_descriptors());
    else if (strcmp(what, "heap") == 0)
        *ret_result = json_integer(count_heap_bytes());
    else if (strcmp(what, "race") == 0)
        *ret_result = race(json_object_get(command, "specs"));
    else if (strcmp(what, "flood") == 0)
        *ret_result = flood(name, number_of(command, "count", 1), json_is_true(json_object_get(command, "leave")));
    else if (strcmp(what, "follow") == 0)
        start_following(name);
    else if (strcmp(what, "followed") == 0)
        *ret_result = list_followed();
    else if (strcmp(what, "unfollow") == 0)
        *ret_result = end_following();
    else if (strcmp(what, "unload") == 0)
        *ret_result = end_load();
    else if (strcmp(what, "load") == 0)
        start_load(name, number_of(command, "threads", 1), number_of(command, "tokens", 8));
    else if (strcmp(what, "logs") == 0) {
        const log_sink sink = { *ret_result = json_array(), add_line};
        return services_logs(all, name, text_of(command, "instance"), number_of(command, "since", 0), false, &sink,
                             err);
    } else if (strcmp(what, "ask") == 0) {
        answer one = ask(name, number_of(command, "tokens", 8));
        *ret_result = json_integer((json_int_t)one.tokens);
        return one.status == TN_OK ? TN_OK : tn_fail(err, one.status, "%s", one.message);
    }
    return TN_OK;
}

static bool changes(const char *what)
{
    static const char *const verbs[] = {"create", "update", "scale", "suspend", "resume", "delete", "section"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i], what) == 0)
            return true;
    return false;
}

static void obey(const char *line)
{
    tn_error err = TN_ERROR_INIT;
    json_t *command = json_loads(line, 0, NULL), *result = NULL;
    const char *what = text_of(command, "do");
    tn_status status = what ? (changes(what) ? change : look)(command, what, &result, &err)
                            : tn_fail(&err, TN_E_ARGUMENT, "no command");
    json_t *answer = json_pack("{s:i, s:i, s:s, s:o}", "status", (int)status, "code", err.native_code, "message",
                               err.msg, "result", result ? result : json_null());
    json_dumpf(answer, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(answer);
    json_decref(command);
}

static void tell(const char *sentence)
{
    fprintf(stderr, "%s\n", sentence);
}

int main(int argc, char **argv)
{
    tn_error err = TN_ERROR_INIT;
    static char line[LINE_MAX_BYTES];
    if (argc != 3)
        return 2;
    tn_status status = settings_read(argv[1], NULL, &base, &err);
    if (status == TN_OK)
        status = gateway_create(&door, &err);
    const services_options options = {.settings = base, .gateway = door, .program = argv[2], .tell = tell};
    if (status == TN_OK)
        status = services_open(&options, &all, &err);
    if (status != TN_OK) {
        printf("{\"status\": %d, \"message\": \"%s\"}\n", (int)status, err.msg);
        return 1;
    }
    printf("{\"status\": 0}\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        obey(line);
    services_close(all);
    settings_destroy(base);
    return 0;
}
