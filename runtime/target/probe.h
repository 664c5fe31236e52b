/* runtime/target/probe.h: whether a server on another machine is ready. */
#ifndef TARGET_PROBE_H
#define TARGET_PROBE_H

#include "tenon/error.h"

#include <stdbool.h>

/* GET /ready of "http://HOST:PORT", within two seconds. *ret_code: of HTTP; 0: it answers, but by TLS, and was asked no
 * more. TN_E_IO: nothing answers, and why; TN_E_ARGUMENT: that is no address. */
tn_status probe_ready(const char *address, int *ret_code, tn_error *err);

#endif
