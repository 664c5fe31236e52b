/* serve.c: `tenon serve FILE.ini`: loads a model, opens the front ends, and drains on SIGTERM. */
#include "auth/auth.h"
#include "base/one_model.h"
#include "cli/address_file.h"
#include "cli/command.h"
#include "cli/status_file.h"
#include "model/generation.h"
#include "plan/print.h"
#include "version.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const sigset_t *ends_load; /* signals; NULL: those of a group are its own */

/* What a model's author wants is applied to requests, but not in silence. */
static void tell_defaults(const tn_sampling_defaults *defaults)
{
    const tn_sampling_defaults *neutral = &generation_neutral;
    const struct {
        const char *field;
        double set, neutral;
    } all[] = {{"temperature", defaults->temperature, neutral->temperature},
               {"top_p", defaults->top_p, neutral->top_p},
               {"top_k", defaults->top_k, neutral->top_k},
               {"min_p", defaults->min_p, neutral->min_p},
               {"repetition_penalty", defaults->repetition, neutral->repetition},
               {"max_tokens", defaults->max_new, neutral->max_new}};
    bool told = false;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].set == all[i].neutral)
            continue;
        fprintf(stderr, "%s %s %g", told ? "," : "tenon: by generation_config.json, requests that do not say get",
                all[i].field, all[i].set);
        told = true;
    }
    if (told)
        fprintf(stderr, " (model.generation_config)\n");
}

/* Until a signal comes, which is named. */
static tn_status await_signal(const sigset_t *signals, char *sentence, size_t n, tn_error *err)
{
    int received, code = sigwait(signals, &received);
    if (code)
        return tn_fail(err, TN_E_INTERNAL, "waiting for a signal: %s", strerror(code));
    snprintf(sentence, n, "%s", strsignal(received));
    return TN_OK;
}

/* Until a signal comes to any process of the group, or it has failed, which err then says. */
static tn_status await_group(workers *workers, int fd, char *sentence, size_t n, tn_error *err)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    while (poll(&wait, 1, -1) < 0)
        ;
    tn_status status = workers_check(workers, err);
    if (status == TN_OK && !workers_stop_was_asked(workers, sentence, n))
        status = tn_fail(err, TN_E_INTERNAL, "the group woke rank 0 for nothing");
    return status;
}

static tn_status await_stop(instance *in, int group_fd, const sigset_t *signals, uint32_t drain_ms, tn_error *err)
{
    char sentence[400];

    tn_status status = in->workers ? await_group(in->workers, group_fd, sentence, sizeof sentence, err)
                                   : await_signal(signals, sentence, sizeof sentence, err);
    status_file_stage("draining");
    if (status == TN_OK)
        fprintf(stderr, "tenon: %s, finishing what runs (up to %.0f s)\n", sentence, drain_ms / 1000.0);
    return status;
}

/* Whoever stops a load need not wait for its end: nothing is begun that would have to be finished. */
static void watch_load(double share)
{
    const struct timespec at_once = {0};
    const int received = ends_load ? sigtimedwait(ends_load, NULL, &at_once) : -1;

    status_file_progress(share);
    if (received < 0)
        return;
    progress_finish();
    fprintf(stderr, "tenon: %s before the model was loaded\n", strsignal(received));
    status_file_stage("draining");
    fflush(NULL);
    _exit(0);
}

static tn_status load(session *session, tn_error *err)
{
    const instance *in = &session->instance;
    status_file_stage("planning");
    tn_status status = session_advance(session, STAGE_PLUGINS, STAGE_PLAN, err);
    if (status != TN_OK)
        return status;
    plan_print(&in->plan, &in->config, stderr);
    tell_defaults(&in->defaults);
    progress_watch(watch_load);
    status = session_advance(session, STAGE_PLAN, STAGE_ENGINE, err);
    progress_watch(NULL);
    return status;
}

/* Rank 0, or a server of one process. */
static tn_status serve(session *session, const sigset_t *signals, const char *address_path, tn_error *err)
{
    instance *in = &session->instance;
    doors doors = {.count = 0};
    int group_fd = -1;
    uint32_t drain_ms = (uint32_t)(settings_number(in->settings, "engine", "drain_timeout") * 1000);
    struct timespec begin, end;

    if (in->frontends.count == 0)
        return tn_fail(err, TN_E_ARGUMENT, "frontend.plugins is empty: there would be no way in");
    clock_gettime(CLOCK_MONOTONIC, &begin);
    ends_load = in->workers ? NULL : signals;
    tn_status status = auth_open(in->settings, err);
    if (status == TN_OK)
        status = load(session, err);
    if (status == TN_OK && in->workers)
        workers_begin_service(in->workers, drain_ms, &group_fd);
    one_model model = {in->engine, &engine_table};
    const tn_frontend_args args = {.struct_size = sizeof args,
                                   .engine = in->engine,
                                   .engine_api = &engine_table,
                                   .chat = &instance_chat_table,
                                   .stats = &engine_stats_table,
                                   .models = one_model_models(&model),
                                   .models_api = &one_model_table};
    if (status == TN_OK)
        status = doors_open(&in->frontends, &args, &doors, err);
    doors_announce(&doors);
    if (status == TN_OK)
        status = address_file_write(address_path, &doors, err);
    if (status == TN_OK) {
        clock_gettime(CLOCK_MONOTONIC, &end);
        fprintf(stderr, "tenon %s: %s is ready after %.2f s; stop with Ctrl-C\n", TENON_VERSION, in->served_names[0],
                (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9);
        status_file_stage("ready");
        status = await_stop(in, group_fd, signals, drain_ms, err);
        address_file_remove(address_path);
    }
    if (in->engine) {
        doors_drain_or_warn(&doors, drain_ms);
        engine_drain(in->engine, 0);
    }
    doors_stop(&doors);
    auth_close();
    return status == TN_OK && in->workers ? workers_check(in->workers, err) : status;
}

/* Every other process of a group. */
static tn_status work(session *session, tn_error *err)
{
    instance *in = &session->instance;
    const tn_group *group = workers_group(in->workers);

    tn_status status = session_advance(session, STAGE_PLUGINS, STAGE_LOADED, err);
    if (status != TN_OK)
        return status;
    fprintf(stderr, "tenon %s: rank %u of %u has loaded %s and does what rank 0 says\n", TENON_VERSION, group->rank,
            group->world, in->served_names[0]);
    status = instance_work(in, err);
    if (status == TN_OK)
        fprintf(stderr, "tenon: rank 0 has ended the group\n");
    return status;
}

/* Of a group, rank 0 alone writes files. */
static tn_status serve_or_work(session *session, const sigset_t *signals, const char *address_path, tn_error *err)
{
    workers *workers = NULL;
    tn_error why = TN_ERROR_INIT;

    tn_status status = workers_open(session->settings, signals, &workers, err);
    if (status != TN_OK)
        return status;
    session->instance.workers = workers;
    bool first = !workers || workers_group(workers)->rank == 0;
    if (!first)
        status_file_start(NULL);
    status = first ? serve(session, signals, address_path, &why) : work(session, &why);
    if (status != TN_OK && workers)
        status = workers_fail(workers, status, why.msg, err);
    else if (status != TN_OK)
        *err = why;
    instance_close(&session->instance);
    workers_close(workers);
    return status;
}

static int run_serve(const command *command, int argc, char **argv)
{
    const char *status_path = NULL, *address_path = NULL;
    const flag flags[] = {
        {"model", "PATH", FLAG_SETTING, NULL, "model.path", "GGUF file or model directory"},
        {"listen", "ADDRESS", FLAG_SETTING, NULL, "http_frontend.listen", "address and port, 127.0.0.1:8000"},
        {"max-model-len", "N", FLAG_SETTING, NULL, "model.max_model_len", "tokens of one sequence"},
        {"status", "FILE", FLAG_STRING, &status_path, NULL, "keep how far it is there, as JSON"},
        {"address", "FILE", FLAG_STRING, &address_path, NULL, "keep where it answers there, as long as it is ready"},
    };
    args a;
    session session = {0};
    sigset_t signals;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code < 0)
        code = args_take_ini(command, &a);
    if (code >= 0)
        return code;
    block_signals(&signals);
    status_file_start(status_path);
    tn_status status = settings_read(a.ini, a.sets, &session.settings, &err);
    instance_init(&session.instance, session.settings);
    if (status == TN_OK)
        status = instance_load_plugins(&session.instance, true, &err);
    if (status == TN_OK)
        status = serve_or_work(&session, &signals, address_path, &err);
    if (status != TN_OK)
        status_file_fail(status, err.msg);
    session_close(&session);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_serve = {
    .name = "serve",
    .arguments = "[FILE.ini]",
    .summary = "serve a model as the settings file says",
    .help = "Loads plugins and model, prints the memory plan, opens the front ends and runs until SIGTERM or Ctrl-C, "
            "which\n"
            "let running requests finish (engine.drain_timeout). Started several times by a launcher ([group]), the "
            "processes\n"
            "run one model together: rank 0 opens the front ends, the others are its workers.",
    .positional_min = 0,
    .positional_max = 1,
    .run = run_serve,
};
