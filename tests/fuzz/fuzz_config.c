/* fuzz_config.c: any bytes as config.json; what passes must build a graph, in which the builder's own assertions hold.
 * The same bytes as generation_config.json: what passes is what a request may ask for.
 */
#include "model/generation.h"
#include "model/graph.h"
#include "unit/fake_source.h"

static void fuzz_graph(const tn_source *source)
{
    tn_error err = TN_ERROR_INIT;
    model_config config;
    tn_graph *graph = NULL;

    tn_status status = model_config_read(source, &config, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == 0));
    if (status == TN_OK) {
        TN_ASSERT(model_graph_build(&config, &graph, &err) == TN_OK);
        model_graph_free(graph);
    }
}

static void fuzz_generation(const tn_source *source)
{
    tn_error err = TN_ERROR_INIT;
    tn_sampling_defaults found;

    tn_status status = generation_defaults_read(source, &found, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == 0));
    if (status != TN_OK)
        return;
    TN_ASSERT(found.temperature == 0.0f || (found.temperature >= 1e-4f && found.temperature <= 100.0f));
    TN_ASSERT(found.top_p > 0.0f && found.top_p <= 1.0f && found.min_p >= 0.0f && found.min_p <= 1.0f);
    TN_ASSERT(found.repetition > 0.0f && found.repetition <= 100.0f);
    TN_ASSERT(found.top_k <= INT32_MAX && found.max_new <= INT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fake_source fake; /* large, and empty but for two entries */
    const tn_meta text = {
        .struct_size = sizeof(tn_meta), .kind = TN_META_STRING, .count = size, .string = (const char *)data};

    fake_set(&fake, "config.json", text);
    fake_set(&fake, "generation_config.json", text);
    const tn_source *source = fake_source_view(&fake, "safetensors");
    fuzz_graph(source);
    fuzz_generation(source);
    return 0;
}
