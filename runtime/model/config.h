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
    MODEL_CONTEXT_MAX = 1 << 30,
    MODEL_ROPE_FACTORS_MAX = 256,
    MODEL_EXPERTS_MAX = 1024,
    MODEL_LAYER_EXPERTS_MAX = 1 << 17 /* experts of all layers: each is three tensors to keep track of */
};

typedef enum rope_scaling {
    ROPE_SCALING_NONE,
    ROPE_SCALING_LINEAR,
    ROPE_SCALING_DYNAMIC,
    ROPE_SCALING_LLAMA3,
    ROPE_SCALING_YARN,
    ROPE_SCALING_LONGROPE
} rope_scaling;
typedef enum norm_place { NORMS_BEFORE, NORMS_AFTER, NORMS_AROUND } norm_place; /* of attention and feed-forward */
typedef enum qk_norm { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_WIDE } qk_norm;      /* over a head, over all of them */
enum { LAYER_WINDOW = 1, LAYER_NO_ROPE = 2, LAYER_DENSE = 4 };                  /* bits of layer_kind */

/* Zero is Llama: a feature that a model has not is 0. */
typedef struct model_config {
    char architecture[32]; /* family name as in GGUF: "llama" */
    /* Where a text model lies in a larger one: before every Hugging Face tensor name, and behind their "model.". */
    char hf_prefix[24], hf_infix[24]; /* "" or "language_model.", at most one of them */
    uint32_t layers, model_width, ff_width, heads, kv_heads, head_dim, vocab;
    uint32_t context;      /* tokens that the model takes */
    uint32_t sequence_max; /* longest sequence to be served, at most context: what length-dependent rotations are for */

    /* Rotation. */
    float rope_theta, rope_theta_local; /* local: of windowed layers, never scaled; 0: they rotate as the others do */
    uint32_t rope_dim;                  /* rotated elements of a head */
    bool rope_pairs;                    /* GGUF llama weights are permuted for adjacent pairs */
    rope_scaling rope_scaling;
    float rope_factor, rope_low_freq_factor, rope_high_freq_factor;
    float rope_beta_fast, rope_beta_slow; /* YaRN */
    float rope_mscale, rope_mscale_all;   /* YaRN; 0: none */
    float rope_attention_factor;          /* multiplies sines and cosines; 0: what the scaling implies */
    bool rope_untruncated;                /* YaRN: the ramp begins and ends between dimensions */
    uint32_t rope_original_context;
    /* Divisors of frequencies: LongRoPE's for sequences beyond the original context and for those within. */
    float rope_long[MODEL_ROPE_FACTORS_MAX], rope_short[MODEL_ROPE_FACTORS_MAX];
    const float *rope_factors; /* [rope_dim / 2] divisors from a tensor, NULL: none; borrowed from the source */

    /* Attention. */
    uint32_t window; /* tokens that a layer of kind LAYER_WINDOW sees; 0: no layer is */
    uint8_t layer_kind[MODEL_LAYERS_MAX];
    float attention_scale; /* 0: 1 / sqrt(head_dim) */
    float attention_softcap, logits_softcap;
    bool attention_bias, attention_output_bias, attention_sinks, fused_qkv;
    qk_norm qk_norm;

    /* Feed-forward. */
    uint32_t activation; /* TN_ACT_*; 0: SiLU */
    bool mlp_bias, fused_gate_up;
    uint32_t experts, experts_chosen, expert_width; /* experts 0: dense; width 0: ff_width */
    bool numbered_experts;                          /* in GGUF: a tensor for each, as before they were stacked */
    bool experts_unnormalized;                      /* the chosen experts' weights need not add up to 1 */
    bool expert_bias;                               /* in the router and in every expert */
    bool fused_experts;               /* gate and up rows of all experts alternate in one tensor [E, 2 F, M] */
    bool experts_transposed;          /* the tensors of stacked experts are [E, K, N] */
    float swiglu_limit, swiglu_alpha; /* TN_ACT_SWIGLU_CLAMPED */

    /* Around them. */
    norm_place norms;
    float norm_eps, norm_offset;                         /* offset: added to every gain */
    float embedding_scale, residual_scale, logits_scale; /* 0: 1 */
    bool tied_embeddings;
    bool hf_names; /* "model.layers.0.self_attn.q_proj.weight" rather than "blk.0.attn_q.weight" */
} model_config;

/* Reads and checks. TN_E_UNSUPPORTED names an unknown architecture and lists the known ones; TN_E_CORRUPT names
 * the key or tensor at fault. [any] */
tn_status model_config_read(const tn_source *source, model_config *ret_config, tn_error *err);

/* One per container, called by model_config_read with config zeroed; they fill every field. */
tn_status config_gguf_read(const tn_source *source, model_config *config, tn_error *err);
tn_status config_hf_read(const tn_source *source, model_config *config, tn_error *err);

#endif
