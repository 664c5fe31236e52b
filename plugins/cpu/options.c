/* plugins/cpu/options.c: see options.h. */
#include "options.h"

#include "family_choice.h"
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct {
    char isa[16];
    uint32_t threads;
} chosen = {.isa = "auto"};

static const tn_option table[] = {
    {.struct_size = sizeof(tn_option),
     .key = "isa",
     .type = "auto|portable|avx2|avx512|amx",
     .default_value = "auto",
     .help = "Instruction set of the kernels."},
    {.struct_size = sizeof(tn_option),
     .key = "threads",
     .type = "integer",
     .default_value = "0",
     .help = "Threads of a model's step, 0 for all CPUs this process may use."},
};

const tn_option *options_table(uint32_t *ret_count)
{
    *ret_count = sizeof table / sizeof *table;
    return table;
}

tn_status options_read(const tn_host *host, tn_error *err)
{
    const char *isa = host->config(host, "isa"), *threads = host->config(host, "threads");
    const kernels *k;

    if (isa) {
        if (strlen(isa) >= sizeof chosen.isa)
            return tn_fail(err, TN_E_ARGUMENT, "[cpu] isa = %s: unknown; use auto, portable, avx2, avx512 or amx", isa);
        snprintf(chosen.isa, sizeof chosen.isa, "%s", isa);
    }
    if (threads) {
        char *end;
        errno = 0;
        unsigned long value = strtoul(threads, &end, 10);
        if (errno || end == threads || *end || value > 256)
            return tn_fail(err, TN_E_ARGUMENT, "[cpu] threads = %s: 0 to 256", threads);
        chosen.threads = (uint32_t)value;
    }
    return family_choose(chosen.isa, &k, err);
}

const char *options_isa(void)
{
    return chosen.isa;
}

uint32_t options_threads(void)
{
    if (!chosen.threads)
        chosen.threads = pool_cpus();
    return chosen.threads;
}
