/* plugins/cpu/family_choice.h: which kernel families this machine can run, and the one a setting asks for. */
#ifndef CPU_FAMILY_CHOICE_H
#define CPU_FAMILY_CHOICE_H

#include "kernels/kernels.h"
#include "tenon/error.h"

/* isa: "auto" (the best the machine has), "portable", "avx2", "avx512", "amx". TN_E_UNSUPPORTED if the machine lacks
 * it. Choosing AMX asks the system for tile registers, which threads started later inherit. [any] */
tn_status family_choose(const char *isa, const kernels **ret_kernels, tn_error *err);

#endif
