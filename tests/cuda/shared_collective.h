/* tests/cuda/shared_collective.h: ranks of several processes of one machine, over a file that all have mapped: stands
 * in for NCCL between processes. */
#ifndef TESTS_SHARED_COLLECTIVE_H
#define TESTS_SHARED_COLLECTIVE_H

#include "collective.h"

/* Only all_gather; sums are made of it (host_device.c). The file is named by place->id and has no name once all are
 * there. Like NCCL, it waits for ever for a rank that is gone, until it is aborted. Moved to the caller. */
tn_status shared_collective_create(const collective_place *place, collective **ret, tn_error *err);

#endif
