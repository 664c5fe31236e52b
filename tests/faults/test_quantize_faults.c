/* test_quantize_faults.c: AWQ of a tiny checkpoint while memory runs out, at every allocation in turn: refused with a
 * message, or whole; and a run after all of them that finds their leavings and ends as one that was left alone.
 */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/scratch_directory.h"

#include "quantize/quantize.h"

#include <jansson.h>

enum { TOKENS = 16, WIDTH_MOST = 256 };

static const char source_path[] = GOLDEN_DIR "/families/qwen2"; /* biases, tied or not, norms before */
static scratch_directory directory;
static tn_graph *graph;

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (float)(1 << 24) - 0.5f;
}

/* Hands every LINEAR node of the graph inputs that depend on nothing but the sequence, in place of a model. */
static tn_status feed(void *ctx, const tn_ops_table *ops, uint32_t sequence, tn_error *err)
{
    static float x[TOKENS * WIDTH_MOST], w[WIDTH_MOST * WIDTH_MOST], y[TOKENS * WIDTH_MOST];
    const tn_graph_api *api = model_graph_api(graph);
    int32_t position[TOKENS];
    uint32_t out_row[TOKENS], state = sequence;
    tn_status status = TN_OK;

    (void)ctx;
    for (uint32_t i = 0; i < TOKENS; i++) {
        position[i] = (int32_t)i;
        out_row[i] = i;
    }
    const tn_batch batch = {.struct_size = sizeof batch, .axis_count = 1, .position = position, .out_row = out_row};
    for (uint32_t i = 0; i < TOKENS * WIDTH_MOST; i++)
        x[i] = noise(&state);
    for (uint32_t i = 0; i < api->node_count && status == TN_OK; i++) {
        tn_node node = {.struct_size = sizeof node};
        tn_value value[3] = {{.struct_size = sizeof *value}, {.struct_size = sizeof *value}};
        api->node(graph, i, &node);
        if (node.op != TN_OP_LINEAR)
            continue;
        api->value(graph, node.in[0], &value[0]);
        api->value(graph, node.in[1], &value[1]);
        TN_ASSERT(value[1].dim[0] <= WIDTH_MOST && value[1].dim[1] <= WIDTH_MOST);
        node.in_count = 2;
        const tn_buf in[2] = {{(uint64_t)(uintptr_t)x, 0}, {(uint64_t)(uintptr_t)w, 0}};
        const tn_buf out = {(uint64_t)(uintptr_t)y, 0};
        const tn_ops_args args = {.struct_size = sizeof args,
                                  .rows = TOKENS,
                                  .node = &node,
                                  .value_in = value,
                                  .in = in,
                                  .out = &out,
                                  .batch = &batch};
        status = ops->run(NULL, &args, err);
    }
    return status;
}

static quantize_request request_for(const scratch_directory *to)
{
    static const quantize_text text = {.sequences = 2, .tokens = TOKENS, .hash = {1, 2}, .run = feed};
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

static void build_graph(void)
{
    checkpoint *checkpoint;
    model_config config;
    tn_error err = TN_ERROR_INIT;

    if (checkpoint_open(source_path, &checkpoint, &err) != TN_OK ||
        model_config_read(checkpoint_source(checkpoint), &config, &err) != TN_OK ||
        model_graph_build(&config, &graph, &err) != TN_OK)
        fail_msg("%s", err.msg);
    checkpoint_close(checkpoint);
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

static void test_awq_survives_every_failing_allocation(void **state)
{
    (void)state;
    scratch_directory whole = scratch_create();
    const quantize_request request = request_for(&whole);
    tn_error err = TN_ERROR_INIT;

    build_graph();
    directory = scratch_create();
    assert_true(fail_every_allocation(quantize, true) > 100);
    if (quantize_checkpoint(&request, &err) != TN_OK)
        fail_msg("%s", err.msg);
    DIR *entries = opendir(whole.path);
    uint32_t files = 0;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        if (entry->d_name[0] == '.')
            continue;
        assert_same_file(&whole, &directory, entry->d_name);
        files++;
    }
    closedir(entries);
    assert_true(files >= 4); /* two shards and more, index, config.json */
    model_graph_free(graph);
    scratch_destroy(&directory);
    scratch_destroy(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_awq_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
