/* plugins/cuda_tp/graph_view.h: the graph of a compile request, read once: nodes, values, who writes and reads what,
 * and what each weight is for, which decides how it may be cut.
 */
#ifndef CUDA_TP_GRAPH_VIEW_H
#define CUDA_TP_GRAPH_VIEW_H

#include "tenon/backend.h"

#include <stdbool.h>

#define NONE UINT32_MAX /* a macro: enumerators are ints */

/* What a weight is for. */
enum {
    ROLE_VOCABULARY = 1u << 0, /* embedding table or output matrix: ranks hold rows of equal, padded number */
    ROLE_KV = 1u << 1,         /* makes keys or values: shared by several ranks where heads are fewer */
    ROLE_QUERY = 1u << 2,
    ROLE_ATTENTION_OUT = 1u << 3,
    ROLE_WHOLE = 1u << 4,        /* feeds a norm across all heads: no rank can do with a part */
    ROLE_VECTOR = 1u << 5,       /* gain, bias or sinks: f32 on every rank */
    ROLE_EXPERT_VECTOR = 1u << 6 /* bias of every expert's rows: cut as those are */
};

typedef struct weight_view {
    tn_value value; /* its first use */
    tn_enc enc;     /* as it will arrive */
    uint32_t roles;
    uint32_t experts; /* matrices stacked in it, 1: no mixture */
    uint32_t head;    /* ROLE_KV, ROLE_QUERY, ROLE_ATTENTION_OUT: columns or rows of one head */
    uint32_t kv_heads;
} weight_view;

typedef struct graph_view {
    const tn_compile *compile; /* borrowed */
    const tn_graph_api *api;
    tn_node *node;       /* [node_count] */
    tn_value *value;     /* [value_count] */
    uint32_t *writer;    /* [value_count] node, NONE */
    uint32_t *uses;      /* [value_count] readers */
    weight_view *weight; /* [weight_count] */
    tn_kv_group *kv;     /* [kv_group_count] */
} graph_view;

/* compile is borrowed until finish. TN_E_ARGUMENT if a limit is zero, TN_E_MEMORY. */
tn_status graph_view_init(graph_view *view, const tn_compile *compile, tn_error *err);
void graph_view_finish(graph_view *view); /* accepts half-built */

/* The weight id of an input, NONE if the node has no such input. */
uint32_t graph_view_weight(const graph_view *view, const tn_node *node, uint32_t input);
/* True if a node of kind `op` reads the value. */
bool graph_view_is_read_by(const graph_view *view, uint32_t value, uint32_t op);

#endif
