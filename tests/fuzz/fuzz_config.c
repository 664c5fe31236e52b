/* fuzz_config.c: any bytes as config.json; what passes must build a graph, in which the builder's own assertions hold.
 */
#include "model/graph.h"
#include "unit/fake_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fake_source fake; /* large, and empty but for one entry */
    tn_error err = TN_ERROR_INIT;
    model_config config;
    tn_graph *graph = NULL;

    fake_set(
        &fake, "config.json",
        (tn_meta){.struct_size = sizeof(tn_meta), .kind = TN_META_STRING, .count = size, .string = (const char *)data});
    tn_status status = model_config_read(fake_source_view(&fake, "safetensors"), &config, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == 0));
    if (status == TN_OK) {
        TN_ASSERT(model_graph_build(&config, &graph, &err) == TN_OK);
        model_graph_free(graph);
    }
    return 0;
}
