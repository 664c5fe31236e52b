/* runtime/target/slurm.h: services as Slurm jobs. */
#ifndef TARGET_SLURM_H
#define TARGET_SLURM_H

#include "target/target.h"

extern const target target_slurm;

#endif
