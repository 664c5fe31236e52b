/* plugins/cuda_tp/options.h: the settings of section [cuda_tp]. */
#ifndef CUDA_TP_OPTIONS_H
#define CUDA_TP_OPTIONS_H

#include "tenon/plugin.h"

enum { OPTION_COUNT = 3 };

/* For the handshake: OPTION_COUNT entries. */
extern const tn_option options_table[];
/* Reads all settings once. [ctl] */
tn_status options_read(const tn_host *host, tn_error *err);
/* What dlopen is given for NCCL. */
const char *options_nccl_library(void);
/* What dlopen is given for cuBLASLt; NULL: by name, the newest that is known. */
const char *options_cublaslt_library(void);
/* The longest message that ranks sum in one step, `automatic` unless it is set. */
uint64_t options_one_shot_bytes(uint64_t automatic);

#endif
