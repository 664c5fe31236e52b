/* runtime/target/slurm_program.h: Slurm's programs. */
#ifndef TARGET_SLURM_PROGRAM_H
#define TARGET_SLURM_PROGRAM_H

#include "tenon/error.h"

/* As target_run, of sbatch, squeue, scancel: they do what words say, whatever the environment sets for them. TN_E_IO,
 * too, where there is no such program. */
tn_status slurm_run(const char *const *words, char **ret_out, tn_error *err);

#endif
