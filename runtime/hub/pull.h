/* runtime/hub/pull.h: `tenon registry pull`: a model from a hub into the registry. The only part of Tenon that opens a
 * connection to the outside; the members of a group connect to their rank 0.
 */
#ifndef HUB_PULL_H
#define HUB_PULL_H

#include "registry/registry.h"

enum { PULL_PARALLEL_MAX = 32, PULL_RETRIES_MAX = 100 };

typedef struct pull_request {
    const char *endpoint;   /* https://HOST, or http to this machine */
    const char *repository; /* ORG/NAME */
    const char *revision;   /* a branch, tag or commit */
    const char *token;      /* NULL: none. Sent to the endpoint's own origin only */
    const char *ca_file;    /* PEM; NULL: the system's authorities */
    uint32_t parallel, retries;
    const file_choice *choice;
    const registration *registration;
    /* Called before each stage, which may run for long: "pulling", then "checking". */
    weights_progress (*begin)(const char *label);
} pull_request;

/* What was received of a pull that is cut off stays, and the next one of the same goes on there. */
tn_status registry_pull(registry *registry, const pull_request *request, registered *ret_registered, tn_error *err);

#endif
