/* runtime/cli/service.h: what the sub-commands of `tenon service`, and `tenon up`, share. */
#ifndef CLI_SERVICE_H
#define CLI_SERVICE_H

#include "cli/daemon_client.h"

/* ADMIN_SECONDS: that an answer may take which waits for nothing; WAIT_SECONDS: that one question waits at most, so
 * that people see what becomes of it. */
enum { ADMIN_SECONDS = 120, WAIT_SECONDS = 1, WAIT_SECONDS_MAX = 86400 };

/* What is to be asked of a service, as flags; unset ones are NULL and -1. */
typedef struct service_flags {
    const char *model, *pool;
    int64_t gpus, min, max, autosuspend;
    string_list sets;
} service_flags;
#define SERVICE_FLAGS_INIT                                  \
    {                                                       \
        .gpus = -1, .min = -1, .max = -1, .autosuspend = -1 \
    }
#define SERVICE_FLAGS(f)                                                                                             \
    {"model", "MODEL", FLAG_STRING, &(f).model, NULL, "NAME[@VERSION|:ALIAS] of the registry, or an absolute path"}, \
        {"pool", "NAME", FLAG_STRING, &(f).pool, NULL, "where it runs; `tenon pool list --server ...`"},             \
        {"gpus", "N", FLAG_INTEGER, &(f).gpus, NULL, "devices of one instance (default: as many as it takes)"},      \
        {"set", "KEY=VALUE", FLAG_STRINGS, &(f).sets, NULL, "a setting of [model] or [engine]; may be repeated"},    \
        {"min", "N", FLAG_INTEGER, &(f).min, NULL, "instances at least (default 0: none while nobody asks)"},        \
        {"max", "N", FLAG_INTEGER, &(f).max, NULL, "instances at most (default 1)"},                                 \
    {                                                                                                                \
        "autosuspend", "SECONDS", FLAG_INTEGER, &(f).autosuspend, NULL,                                              \
            "idle time until --min 0 suspends (default 1800)"                                                        \
    }

/* An object of what the flags say. False: printed what is wrong. Owned by the caller. */
bool service_body(const command *command, const service_flags *flags, json_t **ret_body);

/* An answer of 200 to 299, or what daemon_report and report say, as an exit code; -1: go on. */
int service_ask(daemon_client *client, const char *method, const char *path, const json_t *body, json_t **ret_json);
/* Asks how a service is, over and over: -1 and *ret_json (NULL: it is gone), or an exit code. It waits between.
 * *ret_late, false before: the state has not come, though it may be called the same: READY before an update. */
typedef int (*service_asker)(void *ctx, json_t **ret_json, bool *ret_late);
/* Tells stage and progress until the service is in `state` (or SUSPENDED, if READY was asked for), has FAILED, is gone
 * or `seconds` are over (negative: never). Exit code 0: it is there; *ret_json is what was last heard, NULL where the
 * service is gone; owned. */
int service_watch(service_asker ask, void *ctx, const char *name, const char *state, double seconds, json_t **ret_json);
/* The same, of a daemon's; READY: with every instance as the last update wants it. An update that failed is a failure.
 */
int service_follow(daemon_client *client, const char *name, const char *state, double seconds, json_t **ret_json);

/* "chat is READY on pool a, 1 of 1 instances"; all of it; a table of {"services"}; for people. */
void service_print_line(const json_t *service);
void service_print_status(const json_t *service);
void service_print_list(const json_t *list);
/* Prints a JSON value and a newline. */
void service_print_json(const json_t *json);
/* A member as text, "" if it is none. */
const char *service_text(const json_t *service, const char *key);

#endif
