/* options.c: see options.h. */
#include "options.h"

#include "device_catalog.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const tn_host *host;
    bool described;
    tn_devinfo device;
} chosen;

static const tn_option table[] = {
    {.struct_size = sizeof(tn_option),
     .key = "device",
     .type = "auto|string",
     .default_value = "auto",
     .help = "Plan for this card without having it: A10G, A100-40GB, A100-80GB, L4, L40S, H100, H200, RTX-4090, or a "
             "name of your "
             "own with device_memory; auto: the cards that are here."},
    {.struct_size = sizeof(tn_option),
     .key = "device_memory",
     .type = "size",
     .help = "Memory of the described card as its driver shows it (22GiB)."},
};

const tn_option *options_table(uint32_t *ret_count)
{
    *ret_count = sizeof table / sizeof *table;
    return table;
}

/* A size that the core has checked to be one: digits and a unit of its own spelling. */
static tn_status read_memory(const char *text, uint64_t *ret_bytes, tn_error *err)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {{"", 1},         {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"kB", 1000},
                 {"MB", 1000000}, {"GB", 1000000000},  {"K", 1ull << 10},   {"M", 1ull << 20},   {"G", 1ull << 30},
                 {"k", 1000},     {"m", 1000000},      {"g", 1000000000}};
    char *end;

    errno = 0;
    double value = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units && !errno && end != text; i++) {
        double bytes = value * (double)units[i].bytes;
        if (strcmp(end, units[i].unit) == 0 && bytes >= (double)(1u << 30) && bytes <= 9007199254740992.0) {
            *ret_bytes = (uint64_t)bytes;
            return TN_OK;
        }
    }
    return tn_fail(err, TN_E_ARGUMENT, "[cuda_tp] device_memory = %s: a size of 1GiB or more, such as 22GiB", text);
}

static tn_status describe(const char *name, const char *memory, tn_error *err)
{
    const described_device *known = device_catalog_find(name);
    char names[160];
    uint64_t bytes = known ? known->mem_total : 0;

    tn_status status = memory ? read_memory(memory, &bytes, err) : TN_OK;
    if (status != TN_OK)
        return status;
    if (!bytes) {
        device_catalog_names(names, sizeof names);
        return tn_fail(err, TN_E_ARGUMENT, "[cuda_tp] device = %.60s is none of %s; set device_memory to describe it",
                       name, names);
    }
    chosen.described = true;
    chosen.device = (tn_devinfo){.score = 1, .flags = TN_DEVICE_DESCRIBED, .mem_total = bytes, .mem_free = bytes};
    snprintf(chosen.device.name, sizeof chosen.device.name, "%.60s", known ? known->name : name);
    snprintf(chosen.device.mem_domain, sizeof chosen.device.mem_domain, "cuda");
    snprintf(chosen.device.features, sizeof chosen.device.features, "%s", known ? known->features : "described");
    return TN_OK;
}

tn_status options_read(const tn_host *host, tn_error *err)
{
    const char *name = host->config(host, "device"), *memory = host->config(host, "device_memory");

    chosen.host = host;
    chosen.described = false;
    if (name && strcmp(name, "auto") != 0)
        return describe(name, memory, err);
    if (memory)
        return tn_fail(err, TN_E_ARGUMENT, "[cuda_tp] device_memory = %s describes a card: name it in device", memory);
    return TN_OK;
}

bool options_described_device(tn_devinfo *info)
{
    if (chosen.described) {
        uint32_t size = info->struct_size;
        *info = chosen.device;
        info->struct_size = size;
    }
    return chosen.described;
}

void options_log(uint32_t level, const char *format, ...)
{
    char line[512];
    va_list arguments;

    if (!chosen.host || level > *chosen.host->log_level)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    chosen.host->log(chosen.host, level, "cuda_tp", line);
}
