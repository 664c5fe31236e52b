/* runtime/model/config_hf_rope.h: the rotary settings of a config.json, in the spellings of transformers 4 and 5. */
#ifndef MODEL_CONFIG_HF_ROPE_H
#define MODEL_CONFIG_HF_ROPE_H

#include "model/config.h"
#include "model/config_reader.h"

/* reader->ctx is the json_t object. Needs head_dim and context; sets every rope field, and lengthens context by the
 * factor of scalings whose max_position_embeddings is what came before them. */
void config_hf_read_rope(config_reader *reader, model_config *config);

#endif
