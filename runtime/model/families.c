/* families.c: the list of model families this core can build graphs for. One line per family, one short file each in
 * families/.
 */
#include "model/decoder.h"

#include <string.h>

extern const model_family llama_family, gemma_family, gemma2_family, gemma3_family, qwen2_family, qwen3_family,
    qwen3_moe_family, phi3_family, smollm3_family, olmo2_family, olmo3_family, granite_family, gpt_oss_family;

const model_family *const model_families[] = {
    &llama_family, &gemma_family,   &gemma2_family, &gemma3_family, &qwen2_family,   &qwen3_family,   &qwen3_moe_family,
    &phi3_family,  &smollm3_family, &olmo2_family,  &olmo3_family,  &granite_family, &gpt_oss_family, NULL};

static bool is_listed(const char *const *names, const char *name)
{
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

const model_family *model_family_find(const char *architecture, const char *hf_architecture)
{
    for (size_t i = 0; model_families[i]; i++) {
        const model_family *family = model_families[i];
        if (architecture && strcmp(architecture, family->architecture) == 0)
            return family;
        if (hf_architecture && is_listed(family->hf_architectures, hf_architecture))
            return family;
    }
    return NULL;
}

static size_t append(char *text, size_t size, size_t used, const char *name)
{
    int written = used < size ? snprintf(text + used, size - used, "%s%s", used ? ", " : "", name) : 0;
    return used + (size_t)written;
}

tn_status model_family_unknown(const char *path, const char *name, bool from_hf, tn_error *err)
{
    char known[480] = "";
    size_t used = 0;

    for (size_t i = 0; model_families[i]; i++) {
        const model_family *family = model_families[i];
        if (!from_hf)
            used = append(known, sizeof known, used, family->architecture);
        for (size_t j = 0; from_hf && family->hf_architectures[j]; j++)
            used = append(known, sizeof known, used, family->hf_architectures[j]);
    }
    return tn_fail(err, TN_E_UNSUPPORTED, "%s: architecture \"%.64s\" is not supported; known: %s", path, name, known);
}

void family_mark_layers(model_config *config, uint8_t kind, uint32_t period, bool last)
{
    for (uint32_t i = 0; i < MODEL_LAYERS_MAX; i++) {
        config->layer_kind[i] &= (uint8_t)~kind;
        if (period == 0 || ((i + 1) % period == 0) == last)
            config->layer_kind[i] |= kind;
    }
}
