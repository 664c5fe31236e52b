/* test_layer_rows.c: the text that passes a model layer by layer, as calibration runs it, ends in the logits that
 * transformers computes, for every family; and every group of weights has seen the rows that go there.
 */
#include "family_case.h"
#include "quantize/calibration.h"
#include "quantize/input_tap.h"
#include "quantize/layer_model.h"
#include "quantize/layer_rows.h"
#include "quantize/tensor_floats.h"
#include "unit/cmocka_test.h"
#include "unit/scratch_directory.h"

#include "interp/kernels.h"

#define ASSERT_OK(call)                         \
    do {                                        \
        tn_error err = TN_ERROR_INIT;           \
        if ((call) != TN_OK)                    \
            fail_msg("%s: %s", #call, err.msg); \
    } while (0)

/* Of the largest logit; products are summed in float32. Measured: up to 3.3e-6. */
static const double tolerance = 1e-5;

typedef struct layers {
    model_rig rig;
    scratch_directory destination;
    quantize_text text;
    quantize_request request;
    shard_plan plan;
    calibration calibration;
    layer_rows rows;
} layers;

static void layers_open(layers *l, const char *path)
{
    const provenance nothing = {0};

    family_open(&l->rig, path, 0, NULL);
    l->destination = scratch_create();
    l->text = (quantize_text){.ids = family_prompt(),
                              .count = FAMILY_PROMPT,
                              .sequences = 1,
                              .tokens = FAMILY_PROMPT,
                              .config = &l->rig.config,
                              .weights = l->rig.weights,
                              .checkpoint = l->rig.checkpoint};
    l->request = (quantize_request){.source = path,
                                    .destination = l->destination.path,
                                    .method = QUANTIZE_AWQ,
                                    .group_size = 8,
                                    .shard_bytes = 1 << 30,
                                    .text = &l->text};
    ASSERT_OK(shard_plan_init(&l->plan, &l->request, l->rig.checkpoint, l->rig.graph, &err));
    ASSERT_OK(calibration_open(&l->calibration, &l->request, l->rig.graph, &l->plan, &nothing, &err));
    ASSERT_OK(layer_rows_open(&l->rows, &l->text, l->rig.graph, l->rig.checkpoint, l->destination.path, 0, &err));
}

static void layers_close(layers *l)
{
    layer_rows_close(&l->rows);
    calibration_close(&l->calibration);
    shard_plan_finish(&l->plan);
    rig_close(&l->rig);
    scratch_destroy(&l->destination);
}

static void run_layers(layers *l)
{
    for (uint32_t i = 0; i < l->rig.config.layers; i++) {
        layer_model model;
        ASSERT_OK(layer_model_open(&model, &l->text, i, &err));
        input_tap_start(&l->calibration, 0);
        ASSERT_OK(layer_model_run(&model, layer_rows_of(&l->rows, 0), &err));
        assert_true(input_tap_stop());
        layer_model_close(&model);
    }
}

static float *read_weight(const layers *l, uint32_t value_id, uint64_t count)
{
    tn_value value = {.struct_size = sizeof value};
    float *values = malloc(count * sizeof *values);

    assert_non_null(values);
    l->rig.api->value(l->rig.graph, value_id, &value);
    ASSERT_OK(tensor_floats(checkpoint_source(l->rig.checkpoint), value.name, 0, count, values, &err));
    return values;
}

/* What stands behind the last layer: a norm, and the head. */
static void finish_logits(const layers *l, float *ret_logits)
{
    const tn_graph_api *api = l->rig.api;
    uint64_t width = api->model_width;
    tn_node norm = {.struct_size = sizeof norm}, head = {.struct_size = sizeof head};
    float *normed = malloc(FAMILY_PROMPT * width * sizeof *normed);

    assert_non_null(normed);
    api->node(l->rig.graph, api->node_count - 2, &norm);
    api->node(l->rig.graph, api->node_count - 1, &head);
    assert_int_equal(norm.op, TN_OP_RMS_NORM);
    float *gain = read_weight(l, norm.in[1], width), *w = read_weight(l, head.in[1], FAMILY_VOCAB * width);
    interp_rms_norm(layer_rows_of(&l->rows, 0), FAMILY_PROMPT, width, gain, width, norm.fattr[TN_RMS_NORM_F_EPS],
                    norm.fattr[TN_RMS_NORM_F_GAIN_OFFSET], normed);
    interp_linear(normed, FAMILY_PROMPT, width, w, NULL, FAMILY_VOCAB, ret_logits, FAMILY_VOCAB);
    interp_softcap(ret_logits, FAMILY_PROMPT * FAMILY_VOCAB, head.fattr[TN_LOGITS_F_SCALE],
                   head.fattr[TN_LOGITS_F_SOFTCAP]);
    free(normed);
    free(gain);
    free(w);
}

static double rows_seen(const layers *l, uint32_t group)
{
    unsigned char *record = l->calibration.inputs[group].record;
    return record ? calibration_sums(record)[l->calibration.groups.groups[group].columns] : 0;
}

/* Every group has seen the whole sequence; an expert its share of what its mixture has. */
static void check_rows_seen(const layers *l)
{
    const scale_groups *groups = &l->calibration.groups;
    double of_experts = 0, mixtures = 0;

    for (uint32_t g = 0; g < groups->count; g++) {
        if (groups->groups[g].expert >= 0)
            of_experts += rows_seen(l, g);
        else
            assert_true(rows_seen(l, g) == FAMILY_PROMPT);
        mixtures += groups->groups[g].router.tensor != NULL;
    }
    assert_true(groups->count > 0 && of_experts == mixtures * l->rig.config.experts_chosen * FAMILY_PROMPT);
}

static void test_layers_end_in_the_logits_of_transformers(void **state)
{
    float *logits = malloc(sizeof(float) * FAMILY_PROMPT * FAMILY_VOCAB);
    char path[256];
    uint32_t wrong = 0;

    (void)state;
    assert_non_null(logits);
    assert_true(family_count() >= FAMILIES);
    for (uint32_t i = 0; i < family_count(); i++) {
        layers l = {0};
        family_directory_make(family_name(i), NULL, path);
        layers_open(&l, path);
        run_layers(&l);
        finish_logits(&l, logits);
        double error = family_error(family_name(i), logits);
        print_message("%-24s %.2g\n", family_name(i), error);
        wrong += !(error <= tolerance);
        check_rows_seen(&l);
        layers_close(&l);
        family_directory_remove(path);
    }
    free(logits);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layers_end_in_the_logits_of_transformers)};
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}
