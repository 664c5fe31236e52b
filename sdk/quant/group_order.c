/* sdk/quant/group_order.c: see group_order.h. */
#include "quant/group_order.h"

#include "quant/bit_stream.h"

#include <inttypes.h>
#include <stdlib.h>

static uint64_t group_count(const packed_weight *weight)
{
    return tn_group_count(weight->columns, weight->enc.group_k);
}

/* Inputs that group g of a weight has. */
static uint64_t group_length(const packed_weight *weight, uint64_t g)
{
    uint64_t left = weight->columns - g * weight->enc.group_k;
    return left < weight->enc.group_k ? left : weight->enc.group_k;
}

static tn_status check_lengths(const packed_weight *weight, const tn_tensor_src *g_idx, tn_error *err)
{
    uint64_t groups = group_count(weight);
    uint32_t *length = calloc(groups, sizeof *length);
    tn_status status = TN_OK;

    if (!length)
        return tn_fail(err, TN_E_MEMORY, "%" PRIu64 " groups", groups);
    for (uint64_t k = 0; k < weight->columns; k++)
        length[word_at(g_idx->data, k)]++;
    for (uint64_t g = 0; g < groups && status == TN_OK; g++)
        if (length[g] != group_length(weight, g))
            status = tn_fail(err, TN_E_CORRUPT,
                             "%s: tensor '%s' puts %u inputs into group %" PRIu64 "; groups of %u make it %" PRIu64,
                             weight->path, g_idx->name, length[g], g, weight->enc.group_k, group_length(weight, g));
    free(length);
    return status;
}

tn_status group_order_check(packed_weight *weight, const tn_tensor_src *g_idx, tn_error *err)
{
    bool in_order = true;

    for (uint64_t k = 0; k < weight->columns; k++) {
        uint32_t group = word_at(g_idx->data, k);
        if (group >= group_count(weight))
            return tn_fail(err, TN_E_CORRUPT,
                           "%s: tensor '%s' puts input %" PRIu64 " into group %d; there are %" PRIu64 " groups",
                           weight->path, g_idx->name, k, (int)group, group_count(weight));
        in_order = in_order && group == k / weight->enc.group_k;
    }
    if (in_order)
        return TN_OK;
    weight->enc.flags = TN_ENC_PERM_K;
    return check_lengths(weight, g_idx, err);
}

tn_status group_order_make(const packed_weight *weight, const tn_tensor_src *g_idx, uint32_t *ret_perm, tn_error *err)
{
    uint64_t groups = group_count(weight);
    uint32_t *next = calloc(groups, sizeof *next); /* where the next input of each group goes */

    if (!next)
        return tn_fail(err, TN_E_MEMORY, "%" PRIu64 " groups", groups);
    for (uint64_t g = 0; g < groups; g++)
        next[g] = (uint32_t)g * weight->enc.group_k;
    for (uint64_t k = 0; k < weight->columns; k++)
        ret_perm[next[word_at(g_idx->data, k)]++] = (uint32_t)k;
    free(next);
    return TN_OK;
}
