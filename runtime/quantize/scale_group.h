/* runtime/quantize/scale_group.h: which weights share an input, and what can take the inverse of its scales.
 *
 * Multiplying the columns of every weight that reads x by s, and dividing x by s, changes nothing but what rounding
 * does (Lin et al. 2023, arXiv:2306.00978). x is divided where it comes from: in the gain of a norm, or in the rows of
 * the weight that it is linear in (up, through the gated product, and v, through attention). Gate and up of all experts
 * of a mixture share the mixture's input, and its router, which is not quantized, takes the scales too; down has a
 * group per expert, of the rows that go there.
 */
#ifndef QUANTIZE_SCALE_GROUP_H
#define QUANTIZE_SCALE_GROUP_H

#include "quantize/shards.h"

#include "model/graph.h"

/* Some rows of a tensor of the checkpoint. */
typedef struct tensor_rows {
    const char *tensor; /* NULL: there is none */
    uint64_t row0, rows;
} tensor_rows;

typedef enum scale_fold {
    FOLD_NONE, /* nothing can take them: all scales are 1 */
    FOLD_GAIN, /* the gain of a norm */
    FOLD_ROWS  /* rows of a weight, and elements of its bias */
} scale_fold;

typedef struct scale_group {
    uint32_t input; /* value id: x, or the mixture's input where x is within an expert */
    const char
        *reader;    /* the graph's name of a weight that reads x: the first LINEAR's, or the experts' gate or down */
    int64_t expert; /* whose down it is; -1: of no expert. Groups of a node's experts follow each other */
    uint32_t weight_first, weight_count;
    uint64_t columns; /* of x */
    scale_fold fold;
    tensor_rows gain;         /* FOLD_GAIN: [1, columns] */
    double gain_offset;       /* what the norm adds to it */
    tensor_rows weight, bias; /* FOLD_ROWS */
    tensor_rows router;       /* reads x as well, and is not quantized */
    /* Column c has scale scale_group_index(c): its own or, after attention, that of its key/value head. */
    uint32_t heads_per_kv, head_dim;
    uint64_t scale_count;
} scale_group;

typedef struct scale_groups {
    scale_group *groups;  /* [count], owned, in the order of the graph */
    tensor_rows *weights; /* [weight_count], owned; names are the graph's */
    uint32_t count, weight_count;
} scale_groups;

/* The groups of all weights that the plan quantizes. graph outlives the groups. */
tn_status scale_groups_init(scale_groups *groups, const tn_graph *graph, const shard_plan *plan, tn_error *err);
void scale_groups_finish(scale_groups *groups);
uint64_t scale_group_index(const scale_group *group, uint64_t column);

#endif
