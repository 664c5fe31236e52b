/* plugins/cpu/options.h: the settings of section [cpu]. */
#ifndef CPU_OPTIONS_H
#define CPU_OPTIONS_H

#include "tenon/plugin.h"

#include <stdint.h>

/* Reads and checks all settings once. [ctl] */
tn_status options_read(const tn_host *host, tn_error *err);
const char *options_isa(void);
uint32_t options_threads(void);
/* For the handshake. */
const tn_option *options_table(uint32_t *ret_count);

#endif
