/* runtime/cli/service_target.h: `tenon service COMMAND --target NAME`: a service on a cluster instead of a daemon's. */
#ifndef CLI_SERVICE_TARGET_H
#define CLI_SERVICE_TARGET_H

#include "cli/service.h"
#include "target/target.h"

/* Which cluster, as flags. */
typedef struct target_flags {
    const char *name; /* NULL: none, but a daemon */
    string_list sets;
} target_flags;
#define TARGET_FLAGS(f)                                                                                         \
    {"target", "NAME", FLAG_STRING, &(f).name, NULL, "on a cluster instead of a daemon: slurm, kubernetes"},                \
    {                                                                                                           \
        "target-set", "KEY=VALUE", FLAG_STRINGS, &(f).sets, NULL, "a setting of [target NAME]; may be repeated" \
    }

/* What create or update does with it. */
typedef struct target_create {
    const service_flags *service;
    bool no_wait, dry_run, replace, json;
    const char *output; /* folder; NULL: none */
} target_create;

/* EXIT_USAGE, and says why: there are settings of a target, but none is named; -1: go on. */
int service_target_check(const command *command, const target_flags *flags);
/* Each returns the exit code, and has printed all there is to print. */
int service_target_create(const target_flags *flags, args *a, const target_create *what);
/* Of what: service, no_wait and json. */
int service_target_update(const target_flags *flags, args *a, const target_create *what);
int service_target_list(const target_flags *flags, args *a, bool json);
/* state NULL: as it is now. */
int service_target_status(const target_flags *flags, args *a, const char *state, double timeout, bool json);
int service_target_logs(const target_flags *flags, args *a, const char *instance, double since, bool follow);
typedef enum target_verb { TARGET_SUSPEND, TARGET_RESUME, TARGET_SCALE, TARGET_DELETE } target_verb;
/* min, max: of TARGET_SCALE; -1: as it is. */
int service_target_change(const target_flags *flags, args *a, target_verb verb, int64_t min, int64_t max, bool no_wait,
                          bool json);

/* For `tenon up`: plans and submits. asked: the model as it is told of afterwards; NULL: as spec names it. *ret_code: as
 * of create, where it is not TN_OK. */
tn_status service_target_submit(const settings *settings, const target *target, const service_spec *spec,
                                const char *asked, target_submission how, int *ret_code, tn_error *err);
/* Until it is READY. */
int service_target_follow(const settings *settings, const target *target, const char *name, const char *state,
                          double seconds, json_t **ret_json);

#endif
