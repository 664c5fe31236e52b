/* tests/reference/over_libraries.h: plugins/cuda_tp over stand-ins for NCCL and cuBLASLt (FAKE_NCCL and FAKE_CUBLASLT,
 * paths that the program is built with), on devices that reach each other.
 */
#ifndef TESTS_OVER_LIBRARIES_H
#define TESTS_OVER_LIBRARIES_H

#include "fake_cublaslt.h"
#include "fake_nccl.h"

/* one_shot_bytes: rows of more than a few tokens are summed by NCCL; fewer are read from the other devices' memory. */
#define OVER_LIBRARIES_ONE_SHOT "2048"

extern const fake_nccl_control *fake_nccl;
extern const fake_cublaslt_control *fake_cublaslt;

/* Before any device is opened. */
void over_libraries_begin(void);

#endif
