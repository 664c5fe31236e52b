/* test_published_configs.c: the config.json of published models gives the graph of those models: as many parameters as
 * transformers counts (tests/reference/published_configs.py), which are those of their publishers' files.
 *
 * published_configs.json says of each where a copy of the published file was found.
 */
#include "cmocka_test.h"
#include "fake_source.h"
#include "model/graph.h"

#include <jansson.h>
#include <stdlib.h>

enum { MODELS_MIN = 37 };

static uint64_t parameters(const tn_graph *graph)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < model_graph_api(graph)->weight_count; i++) {
        uint64_t n, k;
        model_graph_weight_shape(graph, i, &n, &k);
        total += n * k;
    }
    return total;
}

static void expect(const json_t *model, const char *key, uint64_t found)
{
    const json_t *value = json_object_get(model, key);

    assert_true(json_is_integer(value));
    if (found != (uint64_t)json_integer_value(value))
        fail_msg("%s: %s is read as %llu, published is %lld", json_string_value(json_object_get(model, "name")), key,
                 (unsigned long long)found, (long long)json_integer_value(value));
}

static void check(const json_t *model)
{
    fake_source fake = {0};
    model_config config;
    tn_graph *graph;
    tn_error err = TN_ERROR_INIT;
    char *text = json_dumps(json_object_get(model, "config"), 0);

    assert_non_null(text);
    fake_set(&fake, "config.json", fake_string(text));
    if (model_config_read(fake_source_view(&fake, "safetensors"), &config, &err) != TN_OK)
        fail_msg("%s: %s", json_string_value(json_object_get(model, "name")), err.msg);
    assert_int_equal(model_graph_build(&config, &graph, &err), TN_OK);
    expect(model, "parameters", parameters(graph));
    expect(model, "context", config.context);
    expect(model, "head_dim", config.head_dim);
    expect(model, "window", config.window);
    assert_true(config.rope_theta == (float)json_number_value(json_object_get(model, "rope_theta")));
    model_graph_free(graph);
    free(text);
}

static void test_published_configs_give_the_published_models(void **state)
{
    (void)state;
    json_error_t error;
    json_t *models = json_load_file(PUBLISHED_CONFIGS, JSON_REJECT_DUPLICATES, &error);

    if (!models)
        fail_msg("%s line %d: %s", PUBLISHED_CONFIGS, error.line, error.text);
    assert_true(json_array_size(models) >= MODELS_MIN);
    for (size_t i = 0; i < json_array_size(models); i++)
        check(json_array_get(models, i));
    json_decref(models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_configs_give_the_published_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
