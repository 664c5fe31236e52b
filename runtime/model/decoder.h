/* runtime/model/decoder.h: the one graph builder of all families, and what a family has to say about itself.
 *
 * A family is a description: what its tensors are called, which features its config turns on, which keys only it has.
 * The graph follows from model_config alone, so a feature that is switched off there is gone from the graph.
 */
#ifndef MODEL_DECODER_H
#define MODEL_DECODER_H

#include "model/config_reader.h"
#include "model/graph.h"

/* Tensors of a model (the first three) and of one of its layers. */
typedef enum decoder_tensor {
    TENSOR_EMBED,
    TENSOR_FINAL_NORM,
    TENSOR_HEAD,
    TENSOR_ATTN_NORM,
    TENSOR_Q,
    TENSOR_K,
    TENSOR_V,
    TENSOR_QKV, /* rows of q, k and v in one */
    TENSOR_Q_NORM,
    TENSOR_K_NORM,
    TENSOR_SINKS,
    TENSOR_ATTN_OUT,
    TENSOR_ATTN_POST_NORM,
    TENSOR_FFN_NORM,
    TENSOR_GATE,
    TENSOR_UP,
    TENSOR_GATE_UP, /* rows of gate, then of up */
    TENSOR_DOWN,
    TENSOR_FFN_POST_NORM,
    TENSOR_ROUTER,
    TENSOR_EXPERT_GATE, /* a '*' in the name stands for the expert's number: one tensor for each */
    TENSOR_EXPERT_UP,
    TENSOR_EXPERT_GATE_UP, /* rows of gate and up in turn */
    TENSOR_EXPERT_DOWN,
    DECODER_TENSORS
} decoder_tensor;

/* Names without "blk.N." or "model.layers.N."; NULL: the usual one. A bias is named after its matrix: ".bias" for
 * ".weight", or "_bias" behind a name that does not end so. */
typedef const char *decoder_names[DECODER_TENSORS];

typedef struct model_family {
    const char *architecture;                   /* GGUF general.architecture; unique */
    const char *const *hf_architectures;        /* config.json architectures[0], NULL-terminated */
    const decoder_names *gguf_names, *hf_names; /* NULL: the usual ones */
    bool gguf_rope_pairs;                       /* GGUF's q and k are permuted for adjacent pairs */
    /* Before anything is read: features, and defaults of keys that may be absent. NULL: Llama's. */
    void (*prepare)(model_config *config);
    /* The same for a config.json of class `name` alone: the defaults of that class in transformers. NULL: Llama's. */
    void (*prepare_hf)(model_config *config, const char *name);
    /* After the common keys: those that only this family has. NULL: none. */
    void (*read_hf)(config_reader *reader, model_config *config);
    void (*read_gguf)(config_reader *reader, model_config *config);
} model_family;

extern const model_family *const model_families[]; /* NULL-terminated */
/* By either name, the other NULL; NULL if unknown. */
const model_family *model_family_find(const char *architecture, const char *hf_architecture);
/* Writes "path: architecture X is not supported; known: ..." and returns TN_E_UNSUPPORTED. from_hf: X is a class name
 * of transformers, and so are those listed. */
tn_status model_family_unknown(const char *path, const char *name, bool from_hf, tn_error *err);

/* Sets bit `kind` (LAYER_*) in the last layer of every `period`, or in all but the last, and clears it in the others;
 * period 0: sets it in all layers. */
void family_mark_layers(model_config *config, uint8_t kind, uint32_t period, bool last);

void decoder_build(graph_builder *b, const model_config *config, const model_family *family);
/* One layer, as model_graph_build_layer promises. */
void decoder_build_layer(graph_builder *b, const model_config *config, const model_family *family, uint32_t layer);

/* Frequencies of rotation, [rope_dim / 2], in float32 and in the order in which transformers computes them, and what
 * sines and cosines are multiplied with. local: those of windowed layers. */
float rope_frequencies(const model_config *config, bool local, float *ret_inv_freq);

#endif
