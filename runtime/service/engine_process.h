/* runtime/service/engine_process.h: one instance's folder and the process that runs it, begun by us or found running.
 *
 *   STORE/instances/ID/instance.json   what it is for, and what it has reserved
 *   .../engine.ini                     its settings
 *   .../lock                           held by its keeper for as long as that lives
 *   .../status.json                    how far it is, in its own words
 *   .../engine.sock, log, exit.json
 *
 * An instance runs if and only if its lock is held, so no order of deaths leaves one that nobody knows.
 */
#ifndef SERVICE_ENGINE_PROCESS_H
#define SERVICE_ENGINE_PROCESS_H

#include "service/engine_settings.h"
#include "service/ledger.h"

#include <limits.h>
#include <sys/types.h>

enum { SOCKET_PATH_BYTES = 108, ENGINE_WORDS_BYTES = 300 };

typedef struct engine_record {
    uint32_t generation, restart_count;
    uint64_t started_ms; /* since 1970 */
    ledger_claim claim;  /* with the names of service and instance */
} engine_record;

typedef struct engine_process {
    char folder[PATH_MAX / 2], socket[SOCKET_PATH_BYTES];
    engine_record record;
    pid_t keeper;
    int pidfd; /* of the keeper; readable when it has ended */
    bool ours; /* a child of this process, to be waited for */
} engine_process;

/* How an engine says it is doing, from status.json. */
typedef struct engine_status {
    char stage[16];  /* "starting", "planning", "loading", "ready", "draining", "failed"; empty: it has said nothing */
    double progress; /* of loading, 0..1 */
    pid_t pid;
    tn_status failure; /* stage "failed" */
    char message[504];
} engine_status;

/* Whether paths below the store are short enough for sockets. */
tn_status engine_process_check_store(const char *instances, tn_error *err);
/* A name that no instance has: the service's, and a few random letters. */
void engine_process_name(const char *instances, const char *service, char ret_id[INSTANCE_ID_BYTES]);

/* program: tenon. settings: of the instance, ENGINE_SERVE. devices: "0,1". */
tn_status engine_process_start(const char *program, const char *instances, const engine_record *record,
                               const settings *base, const wish *wish, const pool *pool, const char *devices,
                               engine_process *ret_process, tn_error *err);
/* What a folder holds: TN_OK: it runs, and is ours to look after. TN_E_NOT_FOUND: nothing runs there, and the folder is
 * gone now. */
tn_status engine_process_adopt(const char *instances, const char *id, engine_process *ret_process, tn_error *err);

bool engine_process_exited(const engine_process *process);
/* SIGTERM is passed on to the engine; SIGKILL ends keeper and engine. */
void engine_process_signal(const engine_process *process, int signal_number);
/* After its exit: *ret_code as in exit.json. False: it was not written down. */
bool engine_process_exit_code(const engine_process *process, int32_t *ret_code);
/* The last line that its keeper said, which then did not come to writing that down; empty: it was killed. */
void engine_process_last_words(const engine_process *process, char ret_words[ENGINE_WORDS_BYTES]);
void engine_process_status(const engine_process *process, engine_status *ret_status);
/* Resident bytes of the engine; 0: it is not running. */
uint64_t engine_process_memory(pid_t engine);
/* After its exit: removes the folder, keeping its newest log as `kept_log` (NULL: not). */
void engine_process_remove(engine_process *process, const char *kept_log);
/* Forgets a process that goes on. */
void engine_process_leave(engine_process *process);

#endif
