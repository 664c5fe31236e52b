/* runtime/model/generation.h: how the author of a model wants it sampled, from generation_config.json. */
#ifndef MODEL_GENERATION_H
#define MODEL_GENERATION_H

#include "tenon/engine.h"
#include "tenon/source.h"

/* What leaves the model's distribution as it is. */
extern const tn_sampling_defaults generation_neutral;

/* Neutral where the file, or a key in it, is missing. TN_E_CORRUPT names the key whose value cannot be.
 * Which tokens end an answer is the tokenizer's to know. [any] */
tn_status generation_defaults_read(const tn_source *source, tn_sampling_defaults *ret_defaults, tn_error *err);

#endif
