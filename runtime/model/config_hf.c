/* config_hf.c: model dimensions from a checkpoint directory's config.json, as Hugging Face transformers writes it: the
 * keys that families share; what only one has is read in its file.
 *
 * Defaults of absent keys are those of LlamaConfig, unless the class has others. Unknown keys are ignored, as there
 * are hundreds that say nothing about inference; those that would change an answer are refused by name. A model that is
 * the text part of a larger one has its config in `text_config` and "language_model." within its tensors' names: before
 * everything as first published, behind "model." as transformers has written them since 4.52.
 */
#include "model/config_hf_rope.h"
#include "model/config_json.h"
#include "model/decoder.h"

#include <string.h>

static const char *class_name(const json_t *root)
{
    return json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
}

static tn_status read_family(const tn_source *source, const json_t *root, const model_family **ret_family,
                             tn_error *err)
{
    const char *name = class_name(root);

    if (!name)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json architectures: must name the model's architecture",
                       source->path);
    *ret_family = model_family_find(NULL, name);
    return *ret_family ? TN_OK : model_family_unknown(source->path, name, true, err);
}

/* What the class has where the file has nothing; null means that the size follows from others. */
static uint32_t size_left_out(const config_reader *reader, const char *key, uint32_t of_class, uint32_t follows)
{
    return of_class && !config_json_null(reader, key) ? of_class : follows;
}

static void read_heads(config_reader *reader, model_config *config)
{
    config_count(reader, "num_attention_heads", 1, MODEL_HEADS_MAX, config->heads, &config->heads);
    config_count(reader, "num_key_value_heads", 1, MODEL_HEADS_MAX,
                 size_left_out(reader, "num_key_value_heads", config->kv_heads, config->heads), &config->kv_heads);
    if (reader->status != TN_OK)
        return;
    uint32_t divided = config->model_width % config->heads == 0 ? config->model_width / config->heads : 0;
    config_count(reader, "head_dim", 2, MODEL_HEAD_DIM_MAX,
                 size_left_out(reader, "head_dim", config->head_dim, divided), &config->head_dim);
}

/* layer_types, where there is one, is the last word on which layers have the window. A window of null is none. */
static void read_window(config_reader *reader, model_config *config)
{
    uint32_t window = 0, count = config_length(reader, "layer_types");

    config_count(reader, "sliding_window", 0, MODEL_CONTEXT_MAX,
                 size_left_out(reader, "sliding_window", config->window, UINT32_MAX), &window);
    config->window = window == UINT32_MAX ? 0 : window;
    if (count != 0 && count != config->layers)
        config_refuse(reader, TN_E_CORRUPT, "layer_types", "has %u elements, num_hidden_layers is %u", count,
                      config->layers);
    for (uint32_t i = 0; i < count && reader->status == TN_OK; i++) {
        char type[32];
        config_text_at(reader, "layer_types", i, type, sizeof type);
        config->layer_kind[i] &= (uint8_t)~LAYER_WINDOW;
        if (strcmp(type, "sliding_attention") == 0)
            config->layer_kind[i] |= LAYER_WINDOW;
        else if (reader->status == TN_OK && strcmp(type, "full_attention") != 0)
            config_refuse(reader, TN_E_UNSUPPORTED, "layer_types",
                          "\"%s\" is not supported; known: full_attention, sliding_attention", type);
    }
}

static void read_activation(config_reader *reader, model_config *config)
{
    static const struct {
        const char *name;
        uint32_t activation;
    } known[] = {{"silu", TN_ACT_SILU},
                 {"swish", TN_ACT_SILU},
                 {"gelu_pytorch_tanh", TN_ACT_GELU_TANH},
                 {"gelu_new", TN_ACT_GELU_TANH},
                 {"gelu", TN_ACT_GELU}};
    const char *key = config_has(reader, "hidden_activation") ? "hidden_activation" : "hidden_act";
    char name[32];

    if (!config_has(reader, key))
        return;
    config_text(reader, key, NULL, name, sizeof name);
    for (size_t i = 0; i < sizeof known / sizeof *known && reader->status == TN_OK; i++) {
        if (strcmp(name, known[i].name) == 0) {
            config->activation = known[i].activation;
            return;
        }
    }
    config_refuse(reader, TN_E_UNSUPPORTED, key,
                  "\"%s\" is not supported; known: silu, gelu, gelu_new, gelu_pytorch_tanh", name);
}

static void read_common(config_reader *reader, model_config *config)
{
    config_count(reader, "num_hidden_layers", 1, MODEL_LAYERS_MAX, 0, &config->layers);
    config_count(reader, "hidden_size", 1, MODEL_WIDTH_MAX, 0, &config->model_width);
    config_count(reader, "intermediate_size", 1, MODEL_WIDTH_MAX, 0, &config->ff_width);
    config_count(reader, "vocab_size", 1, MODEL_VOCAB_MAX, config->vocab, &config->vocab);
    config_count(reader, "max_position_embeddings", 1, MODEL_CONTEXT_MAX, config->context ? config->context : 2048,
                 &config->context);
    read_heads(reader, config);
    config_real(reader, "rms_norm_eps", 1e-20, 1.0, config->norm_eps != 0.0f ? (double)config->norm_eps : 1e-6,
                &config->norm_eps);
    config_hf_read_rope(reader, config);
    read_window(reader, config);
    config_flag(reader, "tie_word_embeddings", config->tied_embeddings, &config->tied_embeddings);
    config_flag(reader, "attention_bias", config->attention_bias, &config->attention_bias);
    config_flag(reader, "mlp_bias", false, &config->mlp_bias);
    read_activation(reader, config);
    config->attention_output_bias = config->attention_bias;
    config->hf_names = true;
}

static void find_text_part(const tn_source *source, model_config *config)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    bool within = source->tensor(source, "model.language_model.embed_tokens.weight", &tensor) == TN_OK;

    snprintf(within ? config->hf_infix : config->hf_prefix, sizeof config->hf_prefix, "language_model.");
}

static tn_status read_root(const tn_source *source, const json_t *root, const model_family *family,
                           model_config *config, tn_error *err)
{
    config_reader reader = config_json_reader(source, root, "config.json ", err);
    const json_t *text = json_object_get(root, "text_config");

    snprintf(config->architecture, sizeof config->architecture, "%s", family->architecture);
    if (family->prepare)
        family->prepare(config);
    if (family->prepare_hf)
        family->prepare_hf(config, class_name(root));
    if (json_is_object(text)) {
        config_flag(&reader, "tie_word_embeddings", config->tied_embeddings, &config->tied_embeddings);
        reader.prefix = "config.json text_config.";
        reader.ctx = text;
        find_text_part(source, config);
    }
    read_common(&reader, config);
    if (family->read_hf && reader.status == TN_OK)
        family->read_hf(&reader, config);
    return reader.status;
}

tn_status config_hf_read(const tn_source *source, model_config *config, tn_error *err)
{
    const model_family *family = NULL;
    json_t *root = NULL;

    tn_status status = config_json_load(source, "config.json", &root, err);
    if (status == TN_OK && !root)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: config.json is missing; it holds the model's dimensions",
                       source->path);
    if (status == TN_OK)
        status = read_family(source, root, &family, err);
    if (status == TN_OK)
        status = read_root(source, root, family, config, err);
    json_decref(root);
    return status;
}
