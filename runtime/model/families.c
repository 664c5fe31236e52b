/* families.c: the list of model architectures this core can build graphs for. One line per family. */
#include "model/graph.h"

#include <string.h>

extern const model_family llama_family;

const model_family *const model_families[] = {&llama_family, NULL};

const model_family *model_family_find(const char *architecture, const char *hf_architecture)
{
    for (size_t i = 0; model_families[i]; i++) {
        const model_family *family = model_families[i];
        if (architecture && strcmp(architecture, family->architecture) == 0)
            return family;
        if (hf_architecture && strcmp(hf_architecture, family->hf_architecture) == 0)
            return family;
    }
    return NULL;
}

tn_status model_family_unknown(const char *path, const char *name, tn_error *err)
{
    char known[256] = "";
    size_t used = 0;

    for (size_t i = 0; model_families[i] && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s (%s)", i ? ", " : "",
                                 model_families[i]->architecture, model_families[i]->hf_architecture);
    return tn_fail(err, TN_E_UNSUPPORTED, "%s: architecture \"%.64s\" is not supported; known: %s", path, name, known);
}
