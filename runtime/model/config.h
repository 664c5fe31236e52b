/* runtime/model/config.h: the dimensions of a model, read from GGUF metadata or config.json and checked for sanity.
 *
 * Nothing here is trusted arithmetic on file contents: every field is within the limits stated, so later products
 * of two or three of them cannot overflow 64 bits.
 */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include "tenon/source.h"

#include <stdbool.h>

enum {
    MODEL_LAYERS_MAX = 1024,
    MODEL_WIDTH_MAX = 1 << 20, /* model_width, ff_width, heads * head_dim */
    MODEL_HEADS_MAX = 4096,
    MODEL_HEAD_DIM_MAX = 4096,
    MODEL_VOCAB_MAX = 1 << 24,
    MODEL_CONTEXT_MAX = 1 << 30
};

typedef enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_LLAMA3 } rope_scaling;

typedef struct model_config {
    char architecture[32]; /* family name as in GGUF: "llama" */
    uint32_t layers, model_width, ff_width, heads, kv_heads, head_dim, vocab;
    uint32_t context; /* tokens the model was trained for */
    float norm_eps, rope_theta;
    uint32_t rope_dim; /* rotated elements of a head */
    bool rope_pairs;   /* GGUF llama weights are permuted for adjacent pairs */
    rope_scaling rope_scaling;
    float rope_factor, rope_low_freq_factor, rope_high_freq_factor;
    uint32_t rope_original_context;
    const float *rope_factors; /* [rope_dim / 2] frequency divisors from a tensor, NULL: none; borrowed from the source */
    bool tied_embeddings;
    bool attention_bias, attention_output_bias, mlp_bias;
    bool hf_names; /* "model.layers.0.self_attn.q_proj.weight" rather than "blk.0.attn_q.weight" */
} model_config;

/* Reads and checks. TN_E_UNSUPPORTED names an unknown architecture and lists the known ones; TN_E_CORRUPT names
 * the key or tensor at fault. [any] */
tn_status model_config_read(const tn_source *source, model_config *ret_config, tn_error *err);

/* One per container, called by model_config_read with config zeroed; they fill every field. */
tn_status config_gguf_read(const tn_source *source, model_config *config, tn_error *err);
tn_status config_hf_read(const tn_source *source, model_config *config, tn_error *err);

#endif
