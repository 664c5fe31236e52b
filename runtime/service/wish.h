/* runtime/service/wish.h: what was asked of one service, and what became of it, as kept in STORE/services/NAME.json.
 *
 * The file is replaced as a whole and synced before an answer is given, so that a wish either stands or was never made.
 */
#ifndef SERVICE_WISH_H
#define SERVICE_WISH_H

#include "pool/pool.h"
#include "registry/digest.h"
#include "service/services.h"

/* What the sizing function said of one instance: the settings that make the engine take just that. */
typedef struct engine_plan {
    uint64_t device_bytes; /* of each device, at any time */
    uint64_t kv_bytes;     /* of each device */
    uint64_t total_bytes;  /* that the planned device has */
    uint64_t host_bytes;   /* RAM of a process; this and the next two are not kept in files */
    uint32_t nodes;        /* processes, each on a node of its own */
    bool on_host;          /* the device's memory is RAM */
    uint32_t world, pool_devices;
    uint32_t max_model_len, max_num_seqs, max_num_batched_tokens;
} engine_plan;

typedef struct wish_failure {
    bool failed;        /* given up */
    bool update_failed; /* the last update was given up, and taken back */
    bool has_exit_code;
    int32_t exit_code; /* -N: signal N */
    uint64_t needed_bytes, had_bytes;
    char message[504];
} wish_failure;

typedef struct wish {
    char name[SERVICE_NAME_BYTES_MAX + 1];
    char pool[POOL_NAME_BYTES];
    char *model;   /* owned: as it was asked for */
    char *path;    /* owned: where it lies */
    digest digest; /* of the registry's version; empty: a path */
    uint32_t gpus, min, max, autosuspend_s;
    char **sets;                          /* owned, NULL-terminated: "section.key=value" */
    uint32_t generation, generation_last; /* of the settings that are wished for; the highest there was */
    bool suspended, deleting;
    uint32_t drain_s; /* of the last suspend or delete */
    uint64_t created_ms;
    engine_plan plan;
    wish_failure failure;
    char *told;          /* owned: what instances of this generation said of themselves (gateway.h); NULL: none yet */
    struct wish *before; /* owned: wished for again if the update fails; has none itself. NULL: no update runs */
} wish;

/* Takes the spec's own fields into a zeroed wish, after checking them: TN_E_ARGUMENT names the field. Unchanged fields
 * keep what is there. Model, digest, path and plan are left to others. */
tn_status wish_take(wish *wish, const service_spec *spec, tn_error *err);
/* *ret_copy: zeroed before. */
tn_status wish_copy(const wish *wish, struct wish *ret_copy, tn_error *err);
void wish_finish(wish *wish); /* zeroed is fine */

/* "max_model_len=8192" to "model.max_model_len=8192". TN_E_ARGUMENT: no such setting, or the daemon's own. */
tn_status wish_setting(const char *text, char **ret_text, tn_error *err);
/* TN_E_ARGUMENT: it is not the name of a service. */
tn_status wish_check_name(const char *name, tn_error *err);
/* Whether an .ini file gives a value back as it is. */
bool wish_fits_a_line(const char *value);

/* folder: STORE/services. */
tn_status wish_write(const wish *wish, const char *folder, tn_error *err);
tn_status wish_read(const char *folder, const char *file_name, wish *ret_wish, tn_error *err);
tn_status wish_remove(const wish *wish, const char *folder, tn_error *err);

#endif
