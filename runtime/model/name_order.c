/* runtime/model/name_order.c: a sorted index over borrowed names. */
#include "model/name_order.h"

#include <stdlib.h>
#include <string.h>

static const char *name_at(const name_order *names, uint32_t index)
{
    const char *name;
    memcpy(&name, (const char *)names->first + names->stride * index, sizeof name);
    return name;
}

static int compare_names(const void *left, const void *right, void *names)
{
    return strcmp(name_at(names, *(const uint32_t *)left), name_at(names, *(const uint32_t *)right));
}

tn_status name_order_init(name_order *names, const char *const *first, size_t stride, uint32_t count,
                          uint32_t *ret_duplicate)
{
    uint32_t *order = malloc(sizeof *order * (count ? count : 1));
    if (!order)
        return TN_E_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    *names = (name_order){first, stride, count, order};
    qsort_r(order, count, sizeof *order, compare_names, names);

    *ret_duplicate = NAME_ORDER_NONE;
    for (uint32_t i = 1; i < count && *ret_duplicate == NAME_ORDER_NONE; i++)
        if (compare_names(&order[i - 1], &order[i], names) == 0)
            *ret_duplicate = order[i];
    return TN_OK;
}

void name_order_finish(name_order *names)
{
    free(names->order);
    *names = (name_order){0};
}

uint32_t name_order_find(const name_order *names, const char *name)
{
    uint32_t low = 0, high = names->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int side = strcmp(name, name_at(names, names->order[middle]));
        if (side == 0)
            return names->order[middle];
        if (side < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NAME_ORDER_NONE;
}
