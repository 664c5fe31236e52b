/* plugins/cuda_tp/options.h: the settings under [cuda_tp]. */
#ifndef CUDA_TP_OPTIONS_H
#define CUDA_TP_OPTIONS_H

#include "tenon/backend.h"

#include <stdbool.h>

const tn_option *options_table(uint32_t *ret_count);
/* Reads and checks them, once, in init. */
tn_status options_read(const tn_host *host, tn_error *err);

/* True where the settings describe the device to plan for instead of leaving it to the driver; fills all but
 * struct_size. */
bool options_described_device(tn_devinfo *info);

/* One line to the core's log, if it wants lines of that level. [any] */
void options_log(uint32_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
