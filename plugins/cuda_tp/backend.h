/* plugins/cuda_tp/backend.h: the tn.backend table: over a device runtime (backend.c), or without one (planner.c). */
#ifndef CUDA_TP_BACKEND_H
#define CUDA_TP_BACKEND_H

#include "tenon/backend.h"

const tn_backend *cuda_tp_backend(void);

#endif
