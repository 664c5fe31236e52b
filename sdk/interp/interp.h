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

TN_END_DECLS
#endif
