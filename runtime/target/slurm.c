/* slurm.c: see slurm.h. */
#include "target/slurm.h"

const target target_slurm = {
    .name = "slurm",
    .summary = "jobs of a Slurm cluster",
};
