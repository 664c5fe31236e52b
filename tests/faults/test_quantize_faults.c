/* test_quantize_faults.c: AWQ of a tiny checkpoint while memory runs out, at every allocation in turn: refused with a
 * message, or whole; and a run after all of them that finds their leavings and ends as one that was left alone.
 */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/scratch_directory.h"

#include "quantize/quantize.h"

#include "tenon/quant.h"

#include <jansson.h>

enum { TOKENS = 16, SEQUENCES = 2, VOCAB = 96 };
/* ThreadSanitizer looks for no leak, and 300,000 threads are dear: it is shown some failures, out of step with any
 * loop. */
#ifdef __SANITIZE_THREAD__
enum { STRIDE = 13 };
#else
enum { STRIDE = 1 };
#endif

static const char *source_path;
static scratch_directory directory;
static checkpoint *model; /* the source, as the text's model */
static model_config config;
static weight_source weights;
static int32_t ids[SEQUENCES * TOKENS];

static quantize_request request_for(const scratch_directory *to)
{
    static quantize_text text;
    text = (quantize_text){.ids = ids,
                           .count = SEQUENCES * TOKENS,
                           .sequences = SEQUENCES,
                           .tokens = TOKENS,
                           .config = &config,
                           .weights = weights,
                           .checkpoint = model};
    return (quantize_request){.source = source_path,
                              .destination = to->path,
                              .method = QUANTIZE_AWQ,
                              .group_size = 8,
                              .shard_bytes = 8 << 10,
                              .text = &text};
}

void *__real_malloc(size_t size);

/* jansson keeps its memory: where its lexer's buffer does not grow it stops in an assertion of its own. */
static tn_status quantize(tn_error *err)
{
    const quantize_request request = request_for(&directory);

    json_set_alloc_funcs(__real_malloc, free);
    return quantize_checkpoint(&request, err);
}

static void open_model(void)
{
    tn_error err = TN_ERROR_INIT;

    weights.quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    if (checkpoint_open(source_path, &model, &err) != TN_OK ||
        model_config_read(checkpoint_source(model), &config, &err) != TN_OK ||
        weights.quant->open(checkpoint_source(model), &weights.qmodel, &err) != TN_OK)
        fail_msg("%s", err.msg);
    for (uint32_t i = 0; i < SEQUENCES * TOKENS; i++)
        ids[i] = (int32_t)(i * 37 % VOCAB);
}

static void close_model(void)
{
    weights.quant->close(weights.qmodel);
    checkpoint_close(model);
}

static void assert_same_file(const scratch_directory *left, const scratch_directory *right, const char *name)
{
    static unsigned char bytes[2][1 << 20];
    size_t count[2];

    for (int i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", i ? right->path : left->path, name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        count[i] = fread(bytes[i], 1, sizeof bytes[i], file);
        fclose(file);
    }
    assert_int_equal(count[0], count[1]);
    assert_memory_equal(bytes[0], bytes[1], count[0]);
}

static void assert_survives(const char *path)
{
    scratch_directory whole = scratch_create();
    tn_error err = TN_ERROR_INIT;
    uint32_t files = 0;

    source_path = path;
    open_model();
    const quantize_request request = request_for(&whole);
    directory = scratch_create();
    assert_true(fail_allocations(quantize, true, STRIDE) > 100 / STRIDE);
    if (quantize_checkpoint(&request, &err) != TN_OK)
        fail_msg("%s", err.msg);
    DIR *entries = opendir(whole.path);
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (entry->d_name[0] == '.')
            continue;
        assert_same_file(&whole, &directory, entry->d_name);
        files++;
    }
    closedir(entries);
    assert_true(files >= 4); /* two shards and more, index, config.json */
    close_model();
    scratch_destroy(&directory);
    scratch_destroy(&whole);
}

static void test_awq_survives_every_failing_allocation(void **state)
{
    (void)state;
    assert_survives(GOLDEN_DIR "/families/qwen2"); /* biases */
    assert_survives(GOLDEN_DIR "/families/mixtral");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_awq_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
