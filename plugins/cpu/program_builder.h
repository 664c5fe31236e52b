/* plugins/cpu/program_builder.h: what the files that turn a graph into steps (program*.c) share. */
#ifndef CPU_PROGRAM_BUILDER_H
#define CPU_PROGRAM_BUILDER_H

#include "program.h"

typedef struct builder {
    program *p;
    const tn_compile *compile;
    const tn_graph_api *api;
    tn_node *node;                    /* [node_count] */
    tn_value *value;                  /* [value_count] */
    uint32_t *uses;                   /* [value_count] nodes that read it */
    uint32_t *writer;                 /* [value_count] node, NONE */
    uint32_t *reader;                 /* [value_count] last node that reads it, NONE */
    uint32_t *buffer_of;              /* [value_count] float32 buffer, NONE */
    uint32_t (*quant_of)[FORM_COUNT]; /* [value_count] prepared buffers */
    bool *done;                       /* [node_count] swallowed by an earlier step */
    uint32_t step_capacity, buffer_capacity;
    bool failed; /* out of memory */
    tn_error *err;
} builder;

/* A buffer of `rows` rows in a form. */
uint32_t buffer_add_rows(builder *b, uint32_t columns, uint32_t form, uint32_t rows);
/* The float32 buffer of a value, made on first use. */
uint32_t buffer_for(builder *b, uint32_t value);
/* A step with nothing in it. */
step *step_add(builder *b, uint32_t kind, bool outputs);
bool is_outputs(const builder *b, uint32_t value);
/* The form in which a product with `weight_id` reads its rows; those of a permuted weight are made from FORM_FLOAT. */
uint32_t form_of(const builder *b, uint32_t weight_id);
/* What the producer of a product's input has to supply: that form, or FORM_FLOAT. */
uint32_t supplied_form(const builder *b, uint32_t weight_id);
/* Gives a step that computes `value` the buffers its readers want. */
void outputs_attach(builder *b, uint32_t value, uint32_t *ret_out, uint32_t quant[FORM_COUNT]);
/* The buffer a product with `weight_id` reads: prepared, and permuted, on the spot if no step has done so. */
uint32_t linear_input(builder *b, uint32_t value, uint32_t weight_id);
/* NONE if the node has no such input. */
uint32_t weight_of(const builder *b, const tn_node *n, uint32_t input);

/* Index of the rotation table of a ROPE node; NONE when there is no room for another. */
uint32_t rope_table_of(builder *b, const tn_node *n);

/* ---- program_graph.c: in this order ---- */
/* Nodes and values, who writes and who reads them. */
tn_status graph_read(builder *b);
/* Layouts of the KV groups. */
tn_status groups_read(builder *b);
/* TN_E_UNSUPPORTED as for program_build. */
tn_status nodes_check(builder *b, uint32_t *bad, uint32_t *bad_count, tn_error *err);
/* Layouts of the weights and their places in the arena. */
tn_status weights_read(builder *b);

/* ---- program_memory.c ---- */
/* A buffer of `rows` rows that lives in no step yet. */
buffer buffer_lay_out(uint32_t columns, uint32_t form, uint32_t rows, bool tiles);
/* Once all steps are there: lifetimes, offsets, the sizes of the arenas and the largest of each step's needs. */
void memory_plan(program *p);

/* ---- program_moe.c ---- */
tn_status moe_check(const builder *b, const tn_node *n, tn_error *err);
void add_moe(builder *b, const tn_node *n);

#endif
