/* partition.c: see partition.h. */
#include "partition.h"

#include "kernels/launch.h"

#include <string.h>

static uint64_t least_common_multiple(uint64_t a, uint64_t b)
{
    uint64_t x = a, y = b;
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

/* Whether equal parts of `part` among `all` elements, of which `group` share a scale, have whole groups, or each has
 * its place within one. */
static bool keeps_groups(uint64_t part, uint64_t group, uint64_t all)
{
    return group <= 1 || group >= all || part % group == 0 || group % part == 0;
}

/* What a part has a multiple of: `unit`, and as a rule whole groups. */
static uint64_t unit_with_groups(uint64_t unit, uint64_t group, uint64_t all)
{
    return group > 1 && group < all ? least_common_multiple(unit, group) : unit;
}

/* Rows of a quantized matrix stay together in panels. */
static uint64_t row_unit(const weight_view *w)
{
    return w->enc.family == TN_ENC_FLOAT ? 1 : CUDA_PANEL;
}

/* Rows that share a scale lie within one run, or all of them do. */
static bool rows_keep_scales(const weight_view *w, const weight_cut *cut)
{
    const uint64_t all = cut->run_rows * cut->runs;

    return keeps_groups(cut->rows, w->enc.group_n, all) &&
           (cut->runs == 1 || keeps_groups(cut->run_rows, w->enc.group_n, all));
}

/* Columns of a quantized matrix stay together in whole bytes; rows of floats start on 16 bytes. */
enum { COLUMN_UNIT = 8 };

static bool columns_keep_scales(const weight_view *w, uint64_t part)
{
    const uint64_t all = (uint64_t)w->value.dim[1];
    return keeps_groups(part, w->enc.group_k, all) && keeps_groups(part, w->enc.group2_k, all);
}

static tn_status refuse(const weight_view *w, uint64_t extent, const char *what, uint64_t unit, uint32_t world,
                        tn_error *err)
{
    return tn_fail(err, TN_E_UNSUPPORTED, "%.80s: %llu %s in units of %llu cannot be cut over %u ranks", w->value.name,
                   (unsigned long long)extent, what, (unsigned long long)unit, world);
}

/* Vocabulary rows: equal numbers of whole panels and scales; the last ranks may have fewer rows, or none. */
static void cut_vocabulary(const weight_view *w, weight_cut *cut, uint32_t world)
{
    uint64_t rows = (cut->run_rows + world - 1) / world;
    uint64_t unit = unit_with_groups(CUDA_PANEL, w->enc.group_n, cut->run_rows);
    if (world > 1)
        cut->rows = (rows + unit - 1) / unit * unit;
}

/* Keys and values: whole heads, or the same head for several ranks. */
static tn_status cut_kv(const weight_view *w, weight_cut *cut, uint32_t world, tn_error *err)
{
    uint32_t heads = w->kv_heads;
    if (heads < world && world % heads == 0) {
        cut->rows = w->head;
        cut->replicas = world / heads;
    } else if (heads % world == 0) {
        cut->rows = cut->run_rows / world;
    } else {
        return refuse(w, heads, "key/value heads", 1, world, err);
    }
    if (cut->rows % row_unit(w) || !rows_keep_scales(w, cut))
        return refuse(w, cut->run_rows, "rows", unit_with_groups(row_unit(w), w->enc.group_n, cut->run_rows), world,
                      err);
    return TN_OK;
}

static tn_status cut_rows(const weight_view *w, weight_cut *cut, uint32_t world, tn_error *err)
{
    uint64_t unit = least_common_multiple(row_unit(w), w->roles & ROLE_QUERY ? w->head : 8);

    cut->rows = cut->run_rows / world;
    if (cut->run_rows % (unit * world) || !rows_keep_scales(w, cut))
        return refuse(w, cut->run_rows, "rows", unit_with_groups(unit, w->enc.group_n, cut->run_rows), world, err);
    return TN_OK;
}

static tn_status cut_columns(const weight_view *w, weight_cut *cut, uint32_t world, tn_error *err)
{
    uint64_t unit = least_common_multiple(COLUMN_UNIT, w->roles & ROLE_ATTENTION_OUT ? w->head : 1), all = cut->columns;

    if (all % (unit * world) || !columns_keep_scales(w, all / world)) {
        unit = unit_with_groups(unit, w->enc.group_k, all);
        return refuse(w, all, "columns", unit_with_groups(unit, w->enc.group2_k, all), world, err);
    }
    cut->columns /= world;
    return TN_OK;
}

tn_status partition_weight(const graph_view *view, uint32_t id, uint32_t world, weight_cut *ret_cut, tn_error *err)
{
    const weight_view *w = &view->weight[id];
    const uint32_t shard = w->roles & ROLE_EXPERT_VECTOR ? TN_SHARD_COLUMNS : w->value.shard;
    weight_cut cut = {.shard = world > 1 ? shard : TN_SHARD_NONE,
                      .runs = w->experts,
                      .run_rows = (uint64_t)w->value.dim[0] / w->experts,
                      .columns = (uint64_t)w->value.dim[1],
                      .replicas = 1};
    tn_status status = TN_OK;

    cut.rows = cut.run_rows;
    if (w->roles & ROLE_WHOLE || (w->roles & ROLE_VECTOR && !(w->roles & ROLE_EXPERT_VECTOR)))
        cut.shard = TN_SHARD_NONE;
    if (cut.shard == TN_SHARD_ROWS && w->roles & ROLE_VOCABULARY)
        cut_vocabulary(w, &cut, world);
    else if (cut.shard == TN_SHARD_ROWS && w->roles & ROLE_KV)
        status = cut_kv(w, &cut, world, err);
    else if (cut.shard == TN_SHARD_ROWS)
        status = cut_rows(w, &cut, world, err);
    else if (cut.shard == TN_SHARD_COLUMNS)
        status = cut_columns(w, &cut, world, err);
    if (status == TN_OK)
        *ret_cut = cut;
    return status;
}

static tn_status check_attention(const tn_node *n, uint32_t world, tn_error *err)
{
    int64_t heads = n->attr[TN_ATTENTION_A_HEADS], kv_heads = n->attr[TN_ATTENTION_A_KV_HEADS];

    if (heads % world || (kv_heads % world && world % kv_heads))
        return tn_fail(err, TN_E_UNSUPPORTED, "%lld heads over %lld key/value heads cannot be cut over %u ranks",
                       (long long)heads, (long long)kv_heads, world);
    return TN_OK;
}

static tn_status check_degree(const graph_view *view, uint32_t world, tn_error *err)
{
    tn_status status = TN_OK;
    weight_cut cut;

    for (uint32_t i = 0; i < view->api->node_count && status == TN_OK; i++)
        if (view->node[i].op == TN_OP_ATTENTION)
            status = check_attention(&view->node[i], world, err);
    for (uint32_t id = 0; id < view->api->weight_count && status == TN_OK; id++)
        status = partition_weight(view, id, world, &cut, err);
    return status;
}

tn_status partition_check(const graph_view *view, uint32_t world, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    char degrees[128] = "";

    tn_status status = check_degree(view, world, &reason);
    if (status == TN_OK)
        return TN_OK;
    for (uint32_t degree = 1; degree <= PARTITION_RANKS_MAX; degree++)
        if (check_degree(view, degree, NULL) == TN_OK)
            snprintf(degrees + strlen(degrees), sizeof degrees - strlen(degrees), "%s%u", degree > 1 ? ", " : "",
                     degree);
    return tn_fail(err, status, "tensor_parallel_size = %u does not divide this model (%.200s); degrees that do: %s",
                   world, reason.msg, degrees);
}
