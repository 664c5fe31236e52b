/* test_quantize.c: what quantize_checkpoint writes reads back through quant_compressed within half a step of the
 * original; a second run keeps whole shards and mends what a killed one left; nothing foreign is overwritten.
 */
#include "cmocka_test.h"
#include "quantize/quantize.h"
#include "scratch_directory.h"

#include "base/half.h"
#include "base/small_float.h"
#include "tenon/quant.h"

#include <math.h>
#include <sys/stat.h>

static const char *const source_path = GOLDEN_DIR "/llama_tiny"; /* F32, 64 and 160 inputs */

typedef struct counter {
    uint64_t stages, done, total;
} counter;

static void count(void *ctx, uint64_t done, uint64_t total)
{
    counter *c = ctx;
    assert_true(done > c->done && done <= total);
    *c = (counter){c->stages, done, total};
}

/* Without a text there are two stages. */
static weights_progress begin(void *ctx, quantize_stage stage)
{
    counter *c = ctx;
    assert_true(stage == QUANTIZE_STAGE_READ || stage == QUANTIZE_STAGE_WRITE);
    assert_int_equal(c->done, stage == QUANTIZE_STAGE_WRITE ? c->total : 0);
    *c = (counter){.stages = c->stages + 1};
    return (weights_progress){count, ctx};
}

static quantize_request request_for(const scratch_directory *to, quantize_method method)
{
    return (quantize_request){
        .source = source_path, .destination = to->path, .method = method, .group_size = 32, .shard_bytes = 16 << 10};
}

static void must_quantize(const quantize_request *request)
{
    tn_error err = TN_ERROR_INIT;
    if (quantize_checkpoint(request, &err) != TN_OK)
        fail_msg("%s", err.msg);
}

/* Half a step of the code grid around a value, given the scale it was divided by. */
static float tolerance(quantize_method method, float value, float scale)
{
    if (method != QUANTIZE_FP8)
        return scale * 0.5001f;
    float step = exp2f(floorf(log2f(fabsf(value / scale) + 1e-30f)) - 3.0f);
    return scale * (step < 0x1p-9f ? 0x1p-9f : step) * 0.5001f;
}

static float scale_of(quantize_method method, const float *row, uint64_t k, uint64_t columns)
{
    uint64_t first = method == QUANTIZE_INT4 ? k / 32 * 32 : 0, count_of = method == QUANTIZE_INT4 ? 32 : columns;
    float greatest = 0;
    for (uint64_t i = first; i < first + count_of; i++)
        greatest = fmaxf(greatest, fabsf(row[i]));
    return greatest / (method == QUANTIZE_INT4 ? 7.5f : method == QUANTIZE_INT8 ? 127.0f : 448.0f);
}

/* original: a float tensor. Returns true if the quantized directory holds it in another encoding. */
static bool check_weight(quantize_method method, const tn_qmodel *qmodel, const tn_tensor_src *original)
{
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    tn_enc enc = {.struct_size = sizeof enc};
    tn_error err = TN_ERROR_INIT;
    uint64_t rows, columns;
    float row[512];

    if (quant->shape(qmodel, original->name, &rows, &columns, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(quant->produces(qmodel, original->name, 0, &enc, &err), TN_OK);
    for (uint64_t n = 0; n < rows; n++) {
        const float *from = (const float *)original->data + n * columns;
        assert_int_equal(quant->reference(qmodel, original->name, n, 1, row, &err), TN_OK);
        for (uint64_t k = 0; k < columns; k++) {
            float allowed =
                enc.family == TN_ENC_FLOAT ? 0.0f : tolerance(method, from[k], scale_of(method, from, k, columns));
            /* 7.5 steps lie between zero and the greatest magnitude: a positive one is cut at 7. */
            if (fabsf(row[k] - from[k]) > allowed * (method == QUANTIZE_INT4 ? 1.01f : 1.0f))
                fail_msg("%s [%llu, %llu]: %g became %g", original->name, (unsigned long long)n, (unsigned long long)k,
                         (double)from[k], (double)row[k]);
        }
    }
    return enc.family != TN_ENC_FLOAT;
}

static void check_directory(quantize_method method, const char *path)
{
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    checkpoint *original, *quantized;
    tn_qmodel *qmodel;
    tn_error err = TN_ERROR_INIT;
    uint32_t changed = 0;

    assert_int_equal(checkpoint_open(source_path, &original, &err), TN_OK);
    if (checkpoint_open(path, &quantized, &err) != TN_OK ||
        quant->open(checkpoint_source(quantized), &qmodel, &err) != TN_OK)
        fail_msg("%s", err.msg);
    const tn_source *source = checkpoint_source(original);
    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        source->tensor_at(source, i, &tensor);
        changed += check_weight(method, qmodel, &tensor);
    }
    assert_int_equal(changed, 3 * 7); /* seven projections a layer; embedding, head and norms stay */
    quant->close(qmodel);
    checkpoint_close(quantized);
    checkpoint_close(original);
}

static void test_every_method_reads_back_within_half_a_step(void **state)
{
    (void)state;
    for (quantize_method method = QUANTIZE_INT4; method <= QUANTIZE_FP8; method++) {
        scratch_directory to = scratch_create();
        quantize_request request = request_for(&to, method);
        counter c = {0};
        request.begin = begin;
        request.ctx = &c;
        must_quantize(&request);
        assert_int_equal(c.stages, 2);
        assert_int_equal(c.done, c.total);
        check_directory(method, to.path);
        scratch_destroy(&to);
    }
}

static struct stat state_of(const scratch_directory *directory, const char *name)
{
    char path[512];
    struct stat entry = {0};
    snprintf(path, sizeof path, "%s/%s", directory->path, name);
    assert_int_equal(stat(path, &entry), 0);
    return entry;
}

static void remove_file(const scratch_directory *directory, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory->path, name);
    assert_int_equal(unlink(path), 0);
}

static const char *shard_name(const scratch_directory *directory, uint32_t index)
{
    static char name[64];
    for (uint32_t total = 2; total < 99; total++) {
        char path[512];
        snprintf(name, sizeof name, "model-%05u-of-%05u.safetensors", index, total);
        snprintf(path, sizeof path, "%s/%s", directory->path, name);
        if (access(path, F_OK) == 0)
            return name;
    }
    fail_msg("there is no shard %u", index);
    return NULL;
}

static void test_a_second_run_keeps_whole_shards_and_makes_the_others(void **state)
{
    (void)state;
    scratch_directory to = scratch_create();
    quantize_request request = request_for(&to, QUANTIZE_INT4);
    must_quantize(&request);
    char first[64], second[64], partial[256];
    snprintf(first, sizeof first, "%s", shard_name(&to, 1));
    snprintf(second, sizeof second, "%s", shard_name(&to, 2));
    snprintf(partial, sizeof partial, "%s.partial", second);
    struct stat before = state_of(&to, first), lost = state_of(&to, second);

    remove_file(&to, second); /* as if killed while writing it */
    remove_file(&to, "config.json");
    scratch_write(&to, partial, "half a file", 11);
    must_quantize(&request);
    assert_int_equal(state_of(&to, first).st_ino, before.st_ino);
    assert_int_equal(state_of(&to, second).st_size, lost.st_size);
    snprintf(partial, sizeof partial, "%s/%s.partial", to.path, second);
    assert_int_not_equal(access(partial, F_OK), 0);
    check_directory(QUANTIZE_INT4, to.path);
    scratch_destroy(&to);
}

static void assert_refused(const quantize_request *request, tn_status expected, const char *words)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = quantize_checkpoint(request, &err);
    if (status != expected || !strstr(err.msg, words))
        fail_msg("%d, '%s', which does not say '%s'", status, err.msg, words);
}

static void test_shards_of_other_settings_or_lengths_are_not_taken(void **state)
{
    (void)state;
    scratch_directory to = scratch_create();
    quantize_request request = request_for(&to, QUANTIZE_INT4);
    char path[512];
    must_quantize(&request);
    request.group_size = 16;
    assert_refused(&request, TN_E_ARGUMENT, "was made with --group-size 32, this run has 16: give the same");
    request.group_size = 32;
    request.shard_bytes = 1 << 20;
    assert_refused(&request, TN_E_ARGUMENT, "was made with --shard-size 0.015625, this run has 1: give the same");
    request = request_for(&to, QUANTIZE_FP8);
    assert_refused(&request, TN_E_ARGUMENT, "was made with --method int4, this run has fp8: give the same");
    request = request_for(&to, QUANTIZE_INT4);
    snprintf(path, sizeof path, "%s/%s", to.path, shard_name(&to, 1));
    assert_int_equal(truncate(path, state_of(&to, shard_name(&to, 1)).st_size - 1), 0);
    assert_refused(&request, TN_E_ARGUMENT, "is damaged");
    scratch_write(&to, shard_name(&to, 1), "not one", 7);
    assert_refused(&request, TN_E_ARGUMENT, "does not say what it was made from");
    scratch_destroy(&to);
}

static char *read_source_file(const char *name, size_t *ret_bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", source_path, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *ret_bytes = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*ret_bytes);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *ret_bytes, file), *ret_bytes);
    fclose(file);
    return data;
}

/* A source that has changed under the same names, with the same headers and sizes. */
static void test_a_source_that_has_changed_is_not_gone_on_with(void **state)
{
    (void)state;
    scratch_directory from = scratch_create(), to = scratch_create();
    quantize_request request = request_for(&to, QUANTIZE_INT8);
    size_t weights_bytes, config_bytes;
    char *weights = read_source_file("model.safetensors", &weights_bytes);
    char *config = read_source_file("config.json", &config_bytes), lost[64];

    request.source = from.path;
    scratch_write(&from, "model.safetensors", weights, weights_bytes);
    scratch_write(&from, "config.json", config, config_bytes);
    must_quantize(&request);
    snprintf(lost, sizeof lost, "%s", shard_name(&to, 2));
    remove_file(&to, lost);

    weights[weights_bytes - 4] ^= 1; /* the last bit of the last value */
    scratch_write(&from, "model.safetensors", weights, weights_bytes);
    assert_refused(&request, TN_E_ARGUMENT,
                   "was begun before the weights of the source changed: give what it was begun");
    weights[weights_bytes - 4] ^= 1;
    scratch_write(&from, "model.safetensors", weights, weights_bytes);
    config[config_bytes - 1] = ' '; /* the line's end */
    scratch_write(&from, "config.json", config, config_bytes);
    assert_refused(&request, TN_E_ARGUMENT, "was begun before the source's config.json changed");
    config[config_bytes - 1] = '\n';
    scratch_write(&from, "config.json", config, config_bytes);
    must_quantize(&request);
    free(weights);
    free(config);
    scratch_destroy(&to);
    scratch_destroy(&from);
}

static void test_bad_requests_are_refused(void **state)
{
    (void)state;
    scratch_directory to = scratch_create(), again = scratch_create();
    quantize_request request = request_for(&to, QUANTIZE_INT4);
    request.group_size = 128;
    assert_refused(&request, TN_E_ARGUMENT,
                   "160 inputs, which groups of 128 do not divide: --group-size can be 8, 16, 32");
    request.group_size = 32;
    request.destination = source_path;
    assert_refused(&request, TN_E_ARGUMENT, "is the source");
    request.source = "/nowhere";
    assert_refused(&request, TN_E_NOT_FOUND, "/nowhere");
    request = request_for(&to, QUANTIZE_FP8);
    must_quantize(&request);
    request = request_for(&again, QUANTIZE_INT8);
    request.source = to.path;
    assert_refused(&request, TN_E_ARGUMENT, "quantized already");
    scratch_destroy(&again);
    scratch_destroy(&to);
}

static void test_e4m3_rounds_to_the_nearest_even(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x7e; code++) {
        float low = float_from_e4m3((uint8_t)code), high = float_from_e4m3((uint8_t)(code + 1));
        float middle = (low + high) / 2;
        assert_int_equal(e4m3_from_float(low), code);
        assert_int_equal(e4m3_from_float(-high), (code + 1) | 0x80);
        assert_int_equal(e4m3_from_float(middle), code % 2 ? code + 1 : code);
        assert_int_equal(e4m3_from_float(nextafterf(middle, 0.0f)), code);
        assert_int_equal(e4m3_from_float(nextafterf(middle, 1000.0f)), code + 1);
    }
    assert_int_equal(e4m3_from_float(449.0f), 0x7e);
    assert_int_equal(e4m3_from_float(-1e30f), 0xfe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_method_reads_back_within_half_a_step),
        cmocka_unit_test(test_a_second_run_keeps_whole_shards_and_makes_the_others),
        cmocka_unit_test(test_shards_of_other_settings_or_lengths_are_not_taken),
        cmocka_unit_test(test_a_source_that_has_changed_is_not_gone_on_with),
        cmocka_unit_test(test_bad_requests_are_refused),
        cmocka_unit_test(test_e4m3_rounds_to_the_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
