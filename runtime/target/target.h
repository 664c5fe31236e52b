/* runtime/target/target.h: clusters that others run, on which a service is put instead of on this machine.
 *
 * `tenon service create --target NAME` plans with the same function as for a pool of this machine, has the target
 * render() files of what it came to, and submit() them. The cluster keeps the service from then on: nothing of ours
 * runs beside it, and show() asks it each time. What a target can be told is the settings' section [target NAME]
 * (settings/options.c); --target-set KEY=VALUE is --set "target NAME.KEY=VALUE".
 *
 * Functions are called by one thread of a command, and may take as long as the cluster's own programs do.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "service/engine_settings.h"
#include "service/services.h"

/* What is to run. Everything is borrowed for the call. */
typedef struct target_service {
    const char *name;   /* [a-z0-9._-]{1,63}, the first a letter or digit */
    const char *model;  /* as it was asked for */
    const char *path;   /* where it lies for the cluster's nodes: absolute, one line of UTF-8, otherwise hostile */
    const char *digest; /* of the registry's version, hexadecimal; NULL: a path was asked for */
    const char *pool;
    uint32_t min, max;       /* instances, 1 <= min <= max; as many as min run where nothing scales them */
    const char *const *sets; /* "section.key=value" as asked for, NULL-terminated */
    uint32_t drain_s;        /* that running requests get at SIGTERM ([engine] drain_timeout), rounded up */

    /* All that `tenon serve` of one instance is told; http_frontend is its front end. A target copies it (with
     * engine_settings_copy), puts what is its own over it (engine_settings_put: http_frontend.listen, group.launcher,
     * paths as nodes see them) and makes the .ini (engine_settings_text). It holds paths of secrets, never secrets. */
    const engine_settings *settings;
    const char *token_file; /* of [auth], absolute, here; NULL: no tokens are asked for. It is in settings too */

    /* What the plan came to. */
    uint32_t nodes;        /* processes of an instance, each on a node of its own */
    uint32_t gpus;         /* devices of each process; 0: it runs on CPUs */
    uint64_t device_bytes; /* of each device, at any time; on CPUs within host_bytes */
    uint64_t host_bytes;   /* RAM of each process, at any time */
    uint32_t cpus;         /* of each process: what the settings say, or target_cpus() */
} target_service;

/* CPUs of a process whose settings do not say: the engine's loop, the front end's threads, and what feeds devices; on
 * CPUs alone twice as many. */
uint32_t target_cpus(uint32_t gpus);

/* RAM of a process beside what the plan counts: the program and its threads, or what drivers take for themselves, which
 * the cluster counts as the process's and ends it for. */
uint64_t target_beside_bytes(uint32_t gpus);

/* ---- rendered files ---- */

enum { TARGET_FILES_MAX = 32 };
typedef struct target_file {
    char name[80]; /* no '/' */
    char *text;    /* owned */
    bool secret;   /* mode 0600, and never printed */
} target_file;
typedef struct target_files {
    target_file at[TARGET_FILES_MAX];
    uint32_t count;
} target_files;

/* text: owned, moved in in any case; NULL: TN_E_MEMORY. */
tn_status target_files_add(target_files *files, const char *name, char *text, bool secret, tn_error *err);
/* Each whole and synced, by whole_file; the directory is made. */
tn_status target_files_write(const target_files *files, const char *directory, tn_error *err);
/* Those of the names that are there, as they are: secret is what others may not read. names: NULL-terminated. */
tn_status target_files_read(const char *directory, const char *const *names, target_files *ret_files, tn_error *err);
bool target_files_have(const target_files *files, const char *name);
void target_files_finish(target_files *files); /* zeroed is fine */

/* ---- a target ---- */

/* What becomes of a service of that name. */
typedef enum target_submission {
    TARGET_MAKE,    /* there must be none */
    TARGET_REPLACE, /* it makes way; what runs there may end at once */
    TARGET_UPDATE   /* it makes way as soon as the new instances are ready */
} target_submission;

/* Settings are those of the command: [target NAME] in it. A name is always a valid one. Where there is no such service:
 * TN_E_NOT_FOUND. Where a program of the cluster refuses or is missing, its own last words are in the message. */
typedef struct target {
    const char *name;    /* "slurm" */
    const char *summary; /* a few words */

    /* The files that submit() hands over, complete: a person could take them to the cluster by hand. Asks the cluster
     * nothing. TN_E_ARGUMENT: a text or a setting that cannot be told to the cluster. */
    tn_status (*render)(const settings *settings, const target_service *service, target_files *ret_files,
                        tn_error *err);
    /* TN_E_ARGUMENT with err->native_code EEXIST: the name is taken. What has failed leaves nothing behind that runs,
     * and what was there goes on. TARGET_UPDATE is complete when a show() has seen the new instances READY. */
    tn_status (*submit)(const settings *settings, const target_service *service, const target_files *files,
                        target_submission how, tn_error *err);
    /* An array of what show() says, by name. */
    tn_status (*list)(const settings *settings, json_t **ret_services, tn_error *err);
    /* As services_show, as far as it is known (other members are null or 0), and "target". Of instances: "id", "state",
     * "started", "restart_count", "message", and "address": "http://HOST:PORT" or null, "node", "log". The base of it
     * is target_service_json. States are those of services.h; instances have STARTING, READY, DRAINING too. */
    tn_status (*show)(const settings *settings, const char *name, json_t **ret_service, tn_error *err);
    /* instance NULL: of all. follow: until the sink has enough. As services_logs. */
    tn_status (*logs)(const settings *settings, const char *name, const char *instance, uint64_t since_ms, bool follow,
                      const log_sink *sink, tn_error *err);
    /* SERVICE_UNCHANGED leaves one of them. */
    tn_status (*scale)(const settings *settings, const char *name, uint32_t min, uint32_t max, tn_error *err);
    /* No instance until resume(); the wish stays. */
    tn_status (*suspend)(const settings *settings, const char *name, tn_error *err);
    tn_status (*resume)(const settings *settings, const char *name, tn_error *err);
    /* Ends it, with the drain that it was made with, and forgets it once it has ended: until then show() says
     * DELETING, then TN_E_NOT_FOUND. To call it again is fine. */
    tn_status (*remove)(const settings *settings, const char *name, tn_error *err);
} target;

/* TN_E_NOT_FOUND names those there are. */
tn_status target_find(const char *name, const target **ret_target, tn_error *err);

/* ---- for targets ---- */

/* Members of show() that the wish determines, in the order of services_show; state, message and instances are for the
 * target to set. A target keeps it with the cluster (a file, an annotation) and completes it at each show(). Owned. */
json_t *target_service_json(const target *target, const target_service *service);

/* keep: the registry keeps the version of that digest for the service, as create does before submit(); else it is let
 * go, as a target does when it forgets a service. digest NULL: a path, which is nobody's to keep. */
tn_status target_keep_model(const settings *settings, const target *target, const char *name, const char *digest,
                            bool keep, tn_error *err);

/* Runs a program of the cluster, found on PATH, with this process's environment and nothing to read; words: NULL-
 * terminated, words[0] the program. *ret_out (may be NULL): owned, terminated, at most 1 MiB. An exit code other than 0
 * is TN_E_IO with the last line of its standard error; TN_E_NOT_FOUND: there is no such program, and `package` has it.
 */
tn_status target_run(const char *const *words, const char *package, char **ret_out, tn_error *err);

#endif
