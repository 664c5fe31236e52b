/* plugins/cpu/backend.h: the plugin's one table. */
#ifndef CPU_BACKEND_H
#define CPU_BACKEND_H

#include "tenon/backend.h"

const tn_backend *cpu_backend(void);

#endif
