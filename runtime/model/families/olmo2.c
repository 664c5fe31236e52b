/* families/olmo2.c: OLMo 2 and 3: norms after attention and feed-forward only, and over all heads of q and k together.
 * OLMo 3 adds a window in three layers of four; those rotate without the scaling that the others may have.
 *
 * GGUF calls both "olmo2" and tells them apart by the window's key. Source: llama.cpp, for what it assumes then.
 */
#include "model/decoder.h"

#include <string.h>

static const char *const olmo2_architectures[] = {"Olmo2ForCausalLM", NULL};
static const char *const olmo3_architectures[] = {"Olmo3ForCausalLM", NULL};

static void prepare_olmo2(model_config *config)
{
    config->norms = NORMS_AFTER;
    config->qk_norm = QK_NORM_WIDE;
    family_mark_layers(config, LAYER_WINDOW, 4, false);
}

static void prepare_olmo3(model_config *config)
{
    prepare_olmo2(config);
    config->window = 4096;
    config->rope_theta = 500000.0f;
}

/* As with Llama, a window in the file of an OLMo 2 says nothing. */
static void prepare_hf(model_config *config, const char *name)
{
    config->norm_eps = 1e-5f;
    if (strcmp(name, "Olmo2ForCausalLM") == 0)
        memset(config->layer_kind, 0, sizeof config->layer_kind);
}

/* rope_parameters may have set it. */
static void read_olmo3_hf(config_reader *reader, model_config *config)
{
    (void)reader;
    if (config->rope_theta_local == 0.0f)
        config->rope_theta_local = config->rope_theta;
}

static void read_olmo2_gguf(config_reader *reader, model_config *config)
{
    config_real(reader, "rope.freq_base_swa", 1.0, 1e15, (double)config->rope_theta, &config->rope_theta_local);
}

const model_family olmo2_family = {.architecture = "olmo2",
                                   .hf_architectures = olmo2_architectures,
                                   .prepare = prepare_olmo2,
                                   .prepare_hf = prepare_hf,
                                   .read_gguf = read_olmo2_gguf};
const model_family olmo3_family = {.architecture = "olmo3",
                                   .hf_architectures = olmo3_architectures,
                                   .prepare = prepare_olmo3,
                                   .prepare_hf = prepare_hf,
                                   .read_hf = read_olmo3_hf};
