/* slurm_program.c: see slurm_program.h. Variables such as SBATCH_PARTITION go before what a script says, and with
 * SQUEUE_PARTITION jobs elsewhere are not listed. Those that say where the cluster is (SLURM_CONF, SLURM_CLUSTERS)
 * stay. Source: sbatch(1), squeue(1), scancel(1) of 22.05, "INPUT ENVIRONMENT VARIABLES".
 */
#include "target/slurm_program.h"

#include "target/target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_option(const char *variable)
{
    static const char *const begins[] = {"SBATCH_", "SQUEUE_", "SCANCEL_", "SLURM_TIME_FORMAT="};

    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(variable, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

/* unsetenv moves those behind it. */
static tn_status unset_options(tn_error *err)
{
    for (char **at = environ; at && *at;) {
        if (!is_option(*at)) {
            at++;
            continue;
        }
        char *name = strndup(*at, strcspn(*at, "="));
        bool unset = name && unsetenv(name) == 0;
        free(name);
        if (!unset)
            return tn_fail(err, TN_E_MEMORY, "out of memory for an environment");
    }
    return TN_OK;
}

tn_status slurm_run(const char *const *words, char **ret_out, tn_error *err)
{
    tn_error why = TN_ERROR_INIT;
    tn_status status = unset_options(err);

    if (status != TN_OK)
        return status;
    status = target_run(words, "Debian's slurm-client", ret_out, &why);
    if (status == TN_E_NOT_FOUND) /* which is said of services alone */
        status = TN_E_IO;
    return status == TN_OK ? TN_OK : tn_fail(err, status, "%s", why.msg);
}
