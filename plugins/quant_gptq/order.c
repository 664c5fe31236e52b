/* plugins/quant_gptq/order.c: g_idx, the group of each input, as an order in which groups are contiguous.
 *
 * Canonical planes have groups of equal size side by side, so inputs are sorted by their group, keeping their order
 * within it, and the permutation goes along (TN_ENC_PERM_K). Writers quantize columns in descending order of activation
 * and cut that order into groups, so every group but the last has exactly group_size inputs; other tensors are refused.
 */
#include "quant_gptq.h"

#include "quant/bit_stream.h"

#include <inttypes.h>
#include <stdlib.h>

/* Inputs that group g of a weight has. */
static uint64_t group_length(const packed_weight *weight, uint64_t g)
{
    uint64_t left = weight->columns - g * weight->enc.group_k;
    return left < weight->enc.group_k ? left : weight->enc.group_k;
}

static tn_status check_lengths(const packed_weight *weight, uint64_t groups, tn_error *err)
{
    const void *g_idx = weight->part[GPTQ_G_IDX].data;
    uint32_t *length = calloc(groups, sizeof *length);
    tn_status status = TN_OK;

    if (!length)
        return tn_fail(err, TN_E_MEMORY, "%" PRIu64 " groups", groups);
    for (uint64_t k = 0; k < weight->columns; k++)
        length[word_at(g_idx, k)]++;
    for (uint64_t g = 0; g < groups && status == TN_OK; g++)
        if (length[g] != group_length(weight, g))
            status = tn_fail(err, TN_E_CORRUPT,
                             "%s: tensor '%s' puts %u inputs into group %" PRIu64
                             "; quantization_config.group_size makes it %" PRIu64,
                             weight->path, weight->part[GPTQ_G_IDX].name, length[g], g, group_length(weight, g));
    free(length);
    return status;
}

tn_status gptq_check_order(packed_weight *weight, uint64_t groups, tn_error *err)
{
    const void *g_idx = weight->part[GPTQ_G_IDX].data;
    bool in_order = true;

    for (uint64_t k = 0; k < weight->columns; k++) {
        uint32_t group = word_at(g_idx, k);
        if (group >= groups)
            return tn_fail(err, TN_E_CORRUPT,
                           "%s: tensor '%s' puts input %" PRIu64 " into group %d; there are %" PRIu64 " groups",
                           weight->path, weight->part[GPTQ_G_IDX].name, k, (int)group, groups);
        in_order = in_order && group == k / weight->enc.group_k;
    }
    if (in_order)
        return TN_OK;
    weight->enc.flags = TN_ENC_PERM_K;
    return check_lengths(weight, groups, err);
}

tn_status gptq_make_order(const packed_weight *weight, uint32_t *ret_perm, tn_error *err)
{
    const void *g_idx = weight->part[GPTQ_G_IDX].data;
    uint64_t groups = tn_group_count(weight->columns, weight->enc.group_k);
    uint32_t *next = calloc(groups, sizeof *next); /* where the next input of each group goes */

    if (!next)
        return tn_fail(err, TN_E_MEMORY, "%" PRIu64 " groups", groups);
    for (uint64_t g = 0; g < groups; g++)
        next[g] = (uint32_t)g * weight->enc.group_k;
    for (uint64_t k = 0; k < weight->columns; k++)
        ret_perm[next[word_at(g_idx, k)]++] = (uint32_t)k;
    free(next);
    return TN_OK;
}
