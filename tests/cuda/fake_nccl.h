/* tests/cuda/fake_nccl.h: a library with NCCL's names over host memory and threads, for nccl_collective.c. Its
 * communicators do not block. It aborts the process if a communicator is used by two threads at once, after its end, or
 * as NCCL forbids.
 */
#ifndef TESTS_FAKE_NCCL_H
#define TESTS_FAKE_NCCL_H

#include <stdint.h>

enum { FAKE_NCCL_REMOTE_ERROR = 6 };

/* The symbol fake_nccl_controls. By rank within its group; they last until they are set back. */
typedef struct fake_nccl_control {
    void (*hang)(int rank, int hang);   /* what the rank asks for is never done */
    void (*refuse)(int rank, int code); /* calls of the rank fail at once; 0: they do not */
    void (*report)(int rank, int code); /* the rank's communicators have failed after they were asked; 0: not */
    uint32_t (*live)(void);             /* communicators */
    uint32_t (*operations)(void);       /* of all ranks together that were done so far */
    uint32_t (*aborted)(void);          /* so far */
} fake_nccl_control;

#endif
