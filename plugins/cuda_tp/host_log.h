/* plugins/cuda_tp/host_log.h: lines to the core's log. */
#ifndef CUDA_TP_HOST_LOG_H
#define CUDA_TP_HOST_LOG_H

#include "tenon/plugin.h"

/* Once, in init; borrowed until fini. */
void host_log_begin(const tn_host *host);
/* One line, if the core wants lines of that level; nothing before host_log_begin. [any] */
void host_log(uint32_t level, const char *format, ...) TN_PRINTF(2, 3);

#endif
