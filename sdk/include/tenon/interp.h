/* tenon/interp.h: turns a table of single-op kernels (tn.ops) into a complete tn.backend.
 *
 * Every node that the device declines runs on the host in portable reference kernels with float64 sums, so tokens are
 * right from the first hour, and the result doubles as the oracle for faster kernels. Weights are expanded to float32.
 * Static library: link with pkg-config tenon-sdk.
 */
#ifndef TENON_INTERP_H
#define TENON_INTERP_H

#include "tenon/ops.h"

TN_BEGIN_DECLS

/* Tables that one copy of this library can wrap. */
enum { TN_INTERP_TABLES_MAX = 8 };

/* A backend over `ops`, valid until the process ends; the same ops give the same backend. ops: static lifetime, may be
 * shorter than this header's (an older SDK's). TN_E_UNSUPPORTED names a missing mandatory member; TN_E_MEMORY past
 * TN_INTERP_TABLES_MAX. [any] */
tn_status tn_interp_backend(const tn_ops_table *ops, const tn_backend **ret_backend, tn_error *err);

/* Host memory posing as a device, no kernels: everything runs in the reference kernels. [any] */
const tn_ops_table *tn_interp_host_ops(void);

/* One op, checked. */
typedef struct tn_interp_finding {
    const char *op;         /* "LINEAR" */
    uint32_t ran, declined; /* nodes that the device ran; that it answered TN_E_UNSUPPORTED */
    double error;     /* largest |difference| from the reference, over the largest |value| of that node's output */
    const char *node; /* where that was; NULL if the device ran none */
} tn_interp_finding;

/* Runs every op of the registry on device 0 of `ops`, in two small models with random data, and compares each node's
 * output with the reference kernel's on the same inputs. report is called once per op. TN_E_INTERNAL names the first op
 * whose error exceeds `tolerance` (1e-5 suits float32 sums); errors of the table pass through. [ctl] */
tn_status tn_interp_check_ops(const tn_ops_table *ops, double tolerance,
                              void (*report)(void *ctx, const tn_interp_finding *finding), void *ctx, tn_error *err);

TN_END_DECLS
#endif
