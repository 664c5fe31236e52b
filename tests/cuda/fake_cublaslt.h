/* tests/cuda/fake_cublaslt.h: a library with cuBLASLt's names, as plain loops over host memory, for matmul.c. As the
 * real one it adds in another order at another number of rows. It aborts the process if it is used as cuBLASLt forbids.
 */
#ifndef TESTS_FAKE_CUBLASLT_H
#define TESTS_FAKE_CUBLASLT_H

#include <stdint.h>

/* The symbol fake_cublaslt_controls. */
typedef struct fake_cublaslt_control {
    uint32_t (*products)(void);     /* so far */
    uint32_t (*objects)(void);      /* that were created and not destroyed */
    void (*refuse)(uint32_t n);     /* no algorithm for products of n outputs; 0: for all there is one */
    void (*break_with)(int status); /* of products from now on; 0: they are done */
} fake_cublaslt_control;

#endif
