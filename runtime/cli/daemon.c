/* daemon.c: `tenon daemon FILE.ini`: services as operators wish for them, behind the front ends of the settings. */
#include "admin/admin.h"
#include "auth/auth.h"
#include "cli/command.h"
#include "service/services.h"
#include "version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SWEEP_S = 600 };

typedef struct control {
    settings *settings;
    instance plugins; /* front ends only */
    gateway *gateway;
    services *services;
    tn_admin *admin;
    doors doors;
} control;

/* ---- services of the settings file ---- */

/* What the file says is what is to be: made where it is missing, changed where it differs. */
static tn_status apply_section(control *c, const char *section, tn_error *err)
{
    service_spec spec;
    const char **sets = NULL;
    tn_error reason = TN_ERROR_INIT;
    tn_status status = service_spec_of_section(c->settings, section, &spec, &sets, err);
    if (status == TN_OK)
        status = services_create(c->services, &spec, true, false, NULL, &reason);
    free(sets);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "[%s] %.440s", section, reason.msg);
}

/* One that cannot be leaves the others be. */
static void apply_sections(control *c)
{
    const char *section;
    for (uint32_t i = 0; (section = settings_named_section(c->settings, "service", i)); i++) {
        tn_error err = TN_ERROR_INIT;
        if (settings_string(c->settings, section, "target")) /* a cluster's, by `tenon up` */
            continue;
        if (apply_section(c, section, &err) != TN_OK)
            report(&err);
    }
}

/* ---- life ---- */

static void tell(const char *sentence)
{
    print_plain(stderr, sentence);
    fputc('\n', stderr);
}

static tn_status open_control(control *c, const args *a, tn_error *err)
{
    tn_status status = instance_load_frontends(&c->plugins, err);
    if (status == TN_OK && c->plugins.frontends.count == 0)
        status = tn_fail(err, TN_E_ARGUMENT, "frontend.plugins is empty: there would be no way in");
    if (status == TN_OK)
        status = gateway_create(&c->gateway, err);
    if (status != TN_OK)
        return status;
    const services_options options = {.settings = c->settings, .gateway = c->gateway, .tell = tell};
    status = services_open(&options, &c->services, err);
    if (status != TN_OK)
        return status;
    const admin_options admin = {.settings = c->settings,
                                 .ini = a->ini,
                                 .sets = a->sets,
                                 .services = c->services,
                                 .store = services_store(c->services),
                                 .tell = tell};
    status = admin_open(&admin, &c->admin, err);
    if (status == TN_OK)
        status = auth_open(c->settings, err);
    if (status != TN_OK)
        return status;
    const tn_frontend_args args = {.struct_size = sizeof args,
                                   .engine_api = &gateway_engine_table,
                                   .chat = &gateway_chat_table,
                                   .stats = &gateway_stats_table,
                                   .models = gateway_models(c->gateway),
                                   .models_api = &gateway_models_table,
                                   .admin = c->admin,
                                   .admin_api = &admin_table};
    status = doors_open(&c->plugins.frontends, &args, &c->doors, err);
    doors_announce(&c->doors);
    return status;
}

static void close_control(control *c, uint32_t drain_ms, bool stops_engines)
{
    if (c->admin)
        admin_stop(c->admin);
    doors_drain_or_warn(&c->doors, drain_ms);
    doors_stop(&c->doors);
    auth_close();
    admin_close(c->admin);
    if (c->services && stops_engines)
        services_stop_engines(c->services, drain_ms / 1000);
    if (c->services)
        services_close(c->services);
    else
        gateway_destroy(c->gateway);
    instance_close(&c->plugins);
    settings_destroy(c->settings);
}

/* The signal that ends the daemon. */
static int wait_for_signal(const control *c, const sigset_t *signals)
{
    const struct timespec pause = {.tv_sec = SWEEP_S};
    int received;

    while ((received = sigtimedwait(signals, NULL, &pause)) < 0)
        if (errno == EAGAIN)
            admin_sweep(c->admin);
    return received;
}

static int run_daemon(const command *command, int argc, char **argv)
{
    bool stops_engines = false;
    const flag flags[] = {
        {"listen", "ADDRESS", FLAG_SETTING, NULL, "http_frontend.listen", "address and port, 127.0.0.1:8000"},
        {"store", "FOLDER", FLAG_SETTING, NULL, "server.store", "where services and engines are kept"},
        {"stop-engines", NULL, FLAG_SWITCH, &stops_engines, NULL, "end the engines too when it is ended itself"},
    };
    args a;
    control c = {.doors = {.count = 0}};
    sigset_t signals;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);
    uint32_t drain_ms = 0;

    if (code < 0)
        code = args_take_ini(command, &a);
    if (code >= 0)
        return code;
    block_signals(&signals);
    tn_status status = settings_read(a.ini, a.sets, &c.settings, &err);
    instance_init(&c.plugins, c.settings);
    if (status == TN_OK)
        status = open_control(&c, &a, &err);
    if (status == TN_OK) {
        drain_ms = (uint32_t)(settings_number(c.settings, "engine", "drain_timeout") * 1000);
        fprintf(stderr, "tenon %s: the daemon is ready\n", TENON_VERSION);
        apply_sections(&c);
        admin_start(c.admin);
        const int received = wait_for_signal(&c, &signals);
        fprintf(stderr, "tenon: %s, finishing what runs (up to %.0f s); engines %s\n", strsignal(received),
                drain_ms / 1000.0, stops_engines ? "are ended" : "go on");
    }
    close_control(&c, drain_ms, stops_engines);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_daemon = {
    .name = "daemon",
    .arguments = "[FILE.ini]",
    .summary = "keep services running: one engine process an instance, one door for all",
    .help =
        "Opens the front ends over all services of its store, makes those of the settings' [service NAME] sections,\n"
        "and runs until SIGTERM or Ctrl-C, which let running requests finish. Engines go on without it, unless\n"
        "--stop-engines is given, and are found again by the next one.",
    .positional_min = 0,
    .positional_max = 1,
    .run = run_daemon,
};
