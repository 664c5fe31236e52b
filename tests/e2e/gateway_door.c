/* gateway_door.c: http_frontend over a gateway, as the daemon has it, without the daemon.
 *
 *   gateway_door PLUGINS MODEL LISTEN      serves MODEL as "smollm2" and "alias"
 *
 * Then, a line each on standard input: attach NAME SOCKET | detach NAME | drain NAME | activity | quit. Each is
 * answered by a line: "ok", numbers, or the error.
 */
#include "gateway/gateway.h"
#include "plugin/loader.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

typedef struct door {
    settings *settings;
    plugin_set *plugins;
    gateway *gateway;
    gateway_route *route;
    const tn_frontend_table *table;
    tn_front *front;
} door;

static tn_status open_front(door *d, tn_error *err)
{
    const plugin *plugin;
    tn_status status = plugin_set_create(d->settings, &d->plugins, err);
    if (status == TN_OK)
        status = plugin_load(d->plugins, "http_frontend", &plugin, err);
    if (status == TN_OK)
        status = plugin_frontend(plugin, &d->table, err);
    if (status != TN_OK)
        return status;
    tn_frontend_args args = {.struct_size = sizeof args,
                             .host = plugin_host(plugin),
                             .engine_api = &gateway_engine_table,
                             .chat = &gateway_chat_table,
                             .stats = &gateway_stats_table,
                             .models = gateway_models(d->gateway),
                             .models_api = &gateway_models_table};
    return d->table->start(&args, &d->front, err);
}

static tn_status open_door(door *d, const char *plugins, const char *model, const char *listen, tn_error *err)
{
    char sets[3][512];
    snprintf(sets[0], sizeof sets[0], "plugins.path=%s", plugins);
    snprintf(sets[1], sizeof sets[1], "model.path=%s", model);
    snprintf(sets[2], sizeof sets[2], "http_frontend.listen=%s", listen);
    const char *all[] = {sets[0], sets[1], sets[2], "model.served_model_name=smollm2,alias", NULL};
    tn_status status = settings_read(NULL, all, &d->settings, err);
    gateway_route_options options = {
        .service = "smollm2", .settings = d->settings, .queue_max = 256, .wake_timeout_ms = 20000};
    if (status == TN_OK)
        status = gateway_create(&d->gateway, err);
    if (status == TN_OK)
        status = gateway_route_add(d->gateway, &options, &d->route, err);
    return status == TN_OK ? open_front(d, err) : status;
}

static void close_door(door *d)
{
    d->table->stop(d->front);
    gateway_route_remove(d->route);
    gateway_destroy(d->gateway);
    plugin_set_destroy(d->plugins);
}

static tn_status obey(door *d, char *line, tn_error *err)
{
    char *rest = NULL;
    const char *verb = strtok_r(line, " \n", &rest), *name = strtok_r(NULL, " \n", &rest),
               *path = strtok_r(NULL, " \n", &rest);
    uint32_t running;

    if (verb && strcmp(verb, "activity") == 0) {
        gateway_activity activity;
        gateway_route_activity(d->route, &activity);
        printf("%u %u %u %" PRIu64 " %" PRIu64 "\n", activity.instances, activity.running, activity.waiting,
               activity.requests, activity.tokens);
        return TN_E_AGAIN; /* answered */
    }
    if (verb && name && path && strcmp(verb, "attach") == 0)
        return gateway_attach(d->route, name, path, err);
    if (verb && name && strcmp(verb, "drain") == 0)
        return gateway_drain(d->route, name, &running);
    if (!verb || !name || strcmp(verb, "detach") != 0)
        return tn_fail(err, TN_E_ARGUMENT, "what?");
    gateway_detach(d->route, name);
    return TN_OK;
}

int main(int argc, char **argv)
{
    door d = {0};
    char line[512];
    tn_error err = TN_ERROR_INIT;

    if (argc != 4)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (open_door(&d, argv[1], argv[2], argv[3], &err) != TN_OK) {
        fprintf(stderr, "gateway_door: %s\n", err.msg);
        return 1;
    }
    printf("ok\n");
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        err.msg[0] = '\0';
        tn_status status = obey(&d, line, &err);
        if (status != TN_E_AGAIN)
            printf("%s\n", status == TN_OK ? "ok" : err.msg[0] ? err.msg : tn_status_text(status));
    }
    close_door(&d);
    return 0;
}
