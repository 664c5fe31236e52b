/* runtime/admin/request.h: a call as its route sees it, and what all routes share. */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H

#include "admin/admin.h"
#include "admin/body.h"
#include "admin/idempotency.h"
#include "admin/operation.h"
#include "admin/program.h"
#include "admin/query.h"
#include "jobs/jobs.h"
#include "registry/registry.h"

#include <stdatomic.h>

struct tn_admin {
    admin_options options;
    char registry_root[PATH_MAX];
    programs *programs;
    idempotency *keys;
    jobs *jobs;
    operations *operations;
    atomic_bool stopping; /* set by admin_stop, read by whoever waits */
};

enum { REQUEST_PARTS = 2, REQUEST_PART_BYTES_MAX = 160, REQUEST_WAIT_SECONDS_MAX = 3600 };

typedef struct request {
    tn_admin *admin;
    const tn_admin_sink *sink;                            /* of a route that sends its answer itself */
    char part[REQUEST_PARTS][REQUEST_PART_BYTES_MAX + 1]; /* what the pattern's '*' stand for */
    query query;
    json_t *body;              /* an object, NULL: none came */
    const tn_admin_call *call; /* of an upload: its type, and its bytes by read */
    const char *caller;        /* a token's name; NULL: someone who sees everything, and owns nothing */
    bool sees_all;
    operation *operation; /* that it is the work of; NULL: who asked waits for the answer */
} request;

/* Whether the caller may know of what has that "owner". */
bool request_sees(const request *request, const json_t *owned);

/* Reads the body's fields. False: *ret_answer says what is wrong. [any] */
bool request_fields(const request *request, const field *fields, uint32_t count, answer *ret_answer);
/* The registry of this call. False: *ret_answer says why not. [any] */
bool request_registry(const request *request, bool create, registry **ret_registry, answer *ret_answer);
/* A word of a program's: "--name=value", or the name alone where value is NULL. False: there is no room. The words are
 * those of this list until it is finished. */
typedef struct words {
    const char *at[PROGRAM_WORDS_MAX + 1]; /* NULL-terminated */
    char *owned[PROGRAM_WORDS_MAX];
    uint32_t count, owned_count;
} words;
bool words_add(words *words, const char *text); /* borrowed */
bool words_add_flag(words *words, const char *name, const char *value);
/* As the daemon was told: --config and --set, and the registry that it uses. */
bool words_add_settings(words *words, const tn_admin *admin);
void words_finish(words *words);
/* Runs a program of those words. False: *ret_answer says why not, 429 where too many run. [any] */
bool request_run(const request *request, const words *words, program_result *ret_result, answer *ret_answer);

#endif
