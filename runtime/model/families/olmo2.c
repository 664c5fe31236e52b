/* families/olmo2.c: OLMo 2: norms after attention and feed-forward only, and over all heads of q and k together. */
#include "model/decoder.h"

static const char *const architectures[] = {"Olmo2ForCausalLM", NULL};

static void prepare(model_config *config)
{
    config->norms = NORMS_AFTER;
    config->qk_norm = QK_NORM_WIDE;
}

const model_family olmo2_family = {.architecture = "olmo2", .hf_architectures = architectures, .prepare = prepare};
