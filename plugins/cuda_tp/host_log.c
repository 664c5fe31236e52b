/* plugins/cuda_tp/host_log.c: see host_log.h. */
#include "host_log.h"

static const tn_host *chosen;

void host_log_begin(const tn_host *host)
{
    chosen = host;
}

void host_log(uint32_t level, const char *format, ...)
{
    char line[512];
    va_list arguments;

    if (!chosen || level > *chosen->log_level)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    chosen->log(chosen, level, "cuda_tp", line);
}
