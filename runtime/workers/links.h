/* runtime/workers/links.h: the connections between rank 0 and the workers of a group: rank 0 listens on the address of
 * its store, or where that is a folder, on one of its host's, at any free port, which the store tells the others.
 */
#ifndef WORKERS_LINKS_H
#define WORKERS_LINKS_H

#include "group/rendezvous.h"

/* A connection that says nothing keeps others waiting for no longer. */
enum { LINKS_GREETING_MS = 1000 };

/* fd: [group->world]; rank 0 gets one for each worker, at its rank, a worker one at 0; the others are -1. store: of
 * the group's identity. Members prove that they know the secret of a TCP store, or one that rank 0 put into the folder.
 * The message says which rank has not come. [ctl] */
tn_status links_open(const tn_group *group, const char *store, uint32_t timeout_ms, int *fd, tn_error *err);

#endif
