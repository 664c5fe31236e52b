/* links.c: see links.h. */
#include "links.h"

#include "tenon/plugin.h"

#include <string.h>

typedef struct pair_counts {
    uint32_t pairs, slow;
} pair_counts;

static bool is_slow(const device_api *api, uint32_t a, uint32_t b)
{
    return strcmp(api->link(a, b), "PCIe") == 0;
}

static pair_counts count_pairs(const device_api *api, uint32_t count, const uint32_t *ordinal)
{
    pair_counts c = {0, 0};

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++) {
            c.pairs += api->link(ordinal[j], ordinal[i])[0] != '\0';
            c.slow += is_slow(api, ordinal[j], ordinal[i]);
        }
    return c;
}

bool links_are_fast(const device_api *api, uint32_t count, const uint32_t *ordinal)
{
    pair_counts c = count_pairs(api, count, ordinal);
    return c.pairs && !c.slow && c.pairs == count * (count - 1) / 2;
}

/* " (0-2, 1-3)", as many as fit. */
static void list_slow(const device_api *api, uint32_t count, const uint32_t *ordinal, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (is_slow(api, ordinal[j], ordinal[i]) && used + 24 < size)
                used += (size_t)snprintf(text + used, size - used, "%s%u-%u", used ? ", " : "", ordinal[j], ordinal[i]);
}

bool links_describe(const device_api *api, uint32_t count, const uint32_t *ordinal, char *line, size_t size,
                    uint32_t *ret_level)
{
    const pair_counts c = count_pairs(api, count, ordinal);
    char list[256];

    *ret_level = c.slow ? TN_LOG_WARNING : TN_LOG_INFO;
    if (!c.pairs)
        return false;
    list_slow(api, count, ordinal, list, sizeof list);
    if (!c.slow)
        snprintf(line, size, "the %u GPUs are connected by NVLink, each with each", count);
    else if (c.slow == c.pairs)
        snprintf(
            line, size,
            "the %u GPUs are connected by PCIe alone: every layer waits for two sums over it; GPUs with NVLink, or "
            "a smaller tensor_parallel_size, are faster",
            count);
    else
        snprintf(line, size,
                 "%u of %u pairs of GPUs are connected by PCIe alone (%s), the others by NVLink: every layer waits for "
                 "two sums over the slowest",
                 c.slow, c.pairs, list);
    return true;
}
