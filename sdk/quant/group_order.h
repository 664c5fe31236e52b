/* sdk/quant/group_order.h: g_idx, the group of each input, as an order in which groups are contiguous.
 *
 * Canonical planes have groups of equal size side by side, so inputs are sorted by their group, keeping their order
 * within it, and the permutation goes along (TN_ENC_PERM_K). Writers quantize columns in descending order of activation
 * and cut that order into groups, so every group but the last has exactly group_k inputs; other tensors are refused.
 */
#ifndef QUANT_GROUP_ORDER_H
#define QUANT_GROUP_ORDER_H

#include "quant/packed_model.h"

/* g_idx: I32 [K], for a weight whose shape and enc.group_k are known. Sets TN_ENC_PERM_K where inputs are not in the
 * order of their groups; TN_E_CORRUPT for groups that do not exist or have another size. */
tn_status group_order_check(packed_weight *weight, const tn_tensor_src *g_idx, tn_error *err);
/* Fills perm [K], the inputs in the order of their groups; g_idx has been checked. */
tn_status group_order_make(const packed_weight *weight, const tn_tensor_src *g_idx, uint32_t *ret_perm, tn_error *err);

#endif
