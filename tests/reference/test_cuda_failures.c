/* test_cuda_failures.c: plugins/cuda_tp over memory of this machine, with plain loops for kernels, or with stand-ins
 * for NCCL and cuBLASLt (OVER_LIBRARIES): whatever refuses or fails, on whichever rank, in a step that is launched, in
 * a graph, in a warmup or while pages are reserved, is said, ends every wait, and leaves nothing behind.
 */
#include "cuda/built_plugins.h"
#include "decode_batch.h"
#include "family_case.h"
#include "host_device.h"
#include "unit/cmocka_test.h"

#ifdef OVER_LIBRARIES
#include "over_libraries.h"
#endif

#include <pthread.h>
#include <string.h>

enum { SLOTS = RIG_SLOTS_MAX, ROWS = 40, LENGTH = 300 };
static const uint32_t buckets[] = {1, 2, 4, 8, 16};

static void open_rig(model_rig *rig, const char *family, uint32_t world, bool batch_varies, char *path)
{
    const rig_limits limits = {.max_tokens = ROWS,
                               .max_seqs = SLOTS,
                               .max_outputs = ROWS,
                               .max_model_len = LENGTH,
                               .world = world,
                               .float_type = TN_BF16,
                               .batch_varies = batch_varies,
                               .bucket = buckets,
                               .bucket_count = sizeof buckets / sizeof *buckets};
    family_directory_make(family, NULL, path);
    rig_open(rig, path, built_quant("quant_none"), cuda_tp_backend(), limits);
}

static void close_rig(model_rig *rig, const char *path)
{
    rig_close(rig);
    family_directory_remove(path);
}

/* The rig's model once more, as it is before its weights are loaded. */
static tn_model *compile_again(const model_rig *rig)
{
    const tn_compile compile = {.struct_size = sizeof compile,
                                .graph = rig->graph,
                                .api = rig->api,
                                .weight_enc = rig->enc,
                                .weight_enc_stride = sizeof *rig->enc,
                                .batch_invariant = 1,
                                .max_tokens = ROWS,
                                .max_seqs = SLOTS,
                                .max_outputs = ROWS,
                                .max_model_len = LENGTH};
    tn_error err = TN_ERROR_INIT;
    tn_model *model = NULL;
    if (rig->backend->compile(rig->dev, &compile, &model, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return model;
}

static tn_status wait_for(const model_rig *rig, uint64_t ticket, tn_error *err)
{
    int32_t id[SLOTS];
    tn_result result = {.struct_size = sizeof result, .out_count = SLOTS, .id = id};
    return rig->backend->wait(rig->model, ticket, &result, err);
}

/* A step of one row of slot 0, submitted. */
static uint64_t submit_row(const model_rig *rig, uint32_t *length, decode_batch *d)
{
    uint32_t lengths[SLOTS] = {*length};
    decode_batch_fill(rig, 1, lengths, d);
    *length = lengths[0];
    return decode_batch_submit(rig, &d->batch);
}

static void expect_no_more_steps(const model_rig *rig, const decode_batch *d, tn_status status)
{
    tn_error err = TN_ERROR_INIT;
    uint64_t ticket;
    assert_int_equal(rig->backend->submit(rig->model, &d->batch, &ticket, &err), status);
}

/* ---- what is refused ---- */

static void test_an_entry_of_a_page_table_changes_once_a_step(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    uint64_t ticket;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 1, false, path);
    decode_batch_fill(&rig, 2, (uint32_t[SLOTS]){0}, &d);
    d.changed[1] = 0;
    assert_int_equal(rig.backend->submit(rig.model, &d.batch, &ticket, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "must ascend"));
    close_rig(&rig, path);
}

static void test_warmup_says_what_it_cannot_take(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 1, false, path);
    assert_int_equal(rig.backend->warmup(rig.model, 0, &err), TN_E_ARGUMENT);
    assert_int_equal(rig.backend->warmup(rig.model, ROWS + 1, &err), TN_E_ARGUMENT);
    assert_int_equal(rig.backend->warmup(rig.model, ROWS, &err), TN_OK); /* no bucket: no graph */
    assert_int_equal(host_device_counted(0).graphs, 0);
    uint64_t ticket = submit_row(&rig, &(uint32_t){0}, &d);
    assert_int_equal(rig.backend->warmup(rig.model, 1, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "in flight"));
    assert_int_equal(wait_for(&rig, ticket, &err), TN_OK);
    assert_int_equal(rig.backend->warmup(rig.model, 1, &err), TN_OK);
    assert_int_equal(rig.backend->warmup(rig.model, 1, &err), TN_OK);
    assert_int_equal(host_device_counted(0).graphs, 1);
    close_rig(&rig, path);
}

/* ---- memory ---- */

/* The first rank's pages are given back if the second gets none. */
static void test_pages_that_not_all_ranks_get_are_given_back(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    uint32_t before, after;
    char path[256];
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    tn_model *model = compile_again(&rig);
    uint64_t bytes = host_device_bytes(0, &before);
    host_device_fill(1, 1);
    assert_int_equal(rig.backend->kv_reserve(model, 0, 8, &err), TN_E_MEMORY);
    assert_int_equal(host_device_bytes(0, &after), bytes);
    assert_int_equal(after, before);
    host_device_fill(1, 0);
    assert_int_equal(rig.backend->kv_reserve(model, 0, 8, &err), TN_OK);
    rig.backend->model_free(model);
    close_rig(&rig, path);
}

static void test_a_rank_without_room_for_a_graph_fails_the_warmup(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    host_device_refuse_graphs(1, 1);
    assert_int_equal(rig.backend->warmup(rig.model, 4, &err), TN_E_MEMORY);
    assert_string_equal(err.msg, "rank 1: device 1 has no room for a graph");
    host_device_refuse_graphs(1, 0);
    decode_batch_fill(&rig, 4, (uint32_t[SLOTS]){0}, &d);
    expect_no_more_steps(&rig, &d, TN_E_MEMORY);
    close_rig(&rig, path);
    assert_int_equal(host_device_counted(0).graphs, 0);
}

/* ---- ranks and devices that fail ---- */

#ifdef OVER_LIBRARIES
enum { COPY_THAT_FAILS = 1 }; /* gathers are no copies then */
#else
enum { COPY_THAT_FAILS = 3 }; /* in the middle of a step */
#endif

static void test_a_rank_that_fails_ends_every_wait(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "mixtral", 2, false, path);
    host_device_fail_copy(1, COPY_THAT_FAILS); /* while the other rank waits for this one */
    assert_int_equal(wait_for(&rig, submit_row(&rig, &(uint32_t){0}, &d), &err), TN_E_DEVICE_LOST);
    assert_non_null(strstr(err.msg, "rank 1"));
    assert_non_null(strstr(err.msg, "device 1 is gone"));
    expect_no_more_steps(&rig, &d, TN_E_DEVICE_LOST);
    host_device_fail_copy(1, 0);
    close_rig(&rig, path);
}

/* One device fails at what it was given while the other waits for it in a collective: every wait ends, and so does
 * freeing the model. */
static void fail_in_a_step(uint32_t failing, bool graph)
{
    tn_error err = TN_ERROR_INIT;
    uint32_t length = 0;
    char path[256], words[32];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    if (graph)
        rig_warm_up(&rig);
    uint32_t before = host_device_counted(0).graph_launches;
    assert_int_equal(wait_for(&rig, submit_row(&rig, &length, &d), &err), TN_OK);
    assert_int_equal(host_device_counted(0).graph_launches, before + graph);
    host_device_stall(1 - failing, 1);
    host_device_fail_work(failing, 1);
    assert_int_equal(wait_for(&rig, submit_row(&rig, &length, &d), &err), TN_E_DEVICE_LOST);
    snprintf(words, sizeof words, "rank %u: device %u has failed", failing, failing);
    assert_string_equal(err.msg, words);
    expect_no_more_steps(&rig, &d, TN_E_DEVICE_LOST);
    close_rig(&rig, path);
    host_device_stall(1 - failing, 0);
    host_device_fail_work(failing, 0);
}

static void test_a_device_that_fails_in_a_launch_ends_every_wait(void **state)
{
    (void)state;
    fail_in_a_step(0, false);
    fail_in_a_step(1, false);
}

static void test_a_device_that_fails_in_a_warmup_ends_it(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    char path[256];
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    host_device_fail_work(1, 1);
    assert_int_equal(rig.backend->warmup(rig.model, 4, &err), TN_E_DEVICE_LOST);
    close_rig(&rig, path);
    host_device_fail_work(1, 0);
}

static void test_a_device_that_fails_in_a_graph_ends_every_wait(void **state)
{
    (void)state;
    fail_in_a_step(0, true);
    fail_in_a_step(1, true);
}

/* ---- steps that are given up ---- */

/* Of two ranks one is done with its step, the other never will be. */
static void test_a_model_is_freed_whose_step_never_ends(void **state)
{
    (void)state;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    host_device_stall(1, 1);
    submit_row(&rig, &(uint32_t){0}, &d);
    close_rig(&rig, path);
    host_device_stall(1, 0);
}

/* The group that it ran on is as good as before. */
static void test_a_model_is_freed_with_a_step_that_nobody_waited_for(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    submit_row(&rig, &(uint32_t){0}, &d);
    rig.backend->model_free(rig.model);
    rig.model = compile_again(&rig);
    assert_int_equal(
        weights_load(&rig.weights, rig.checkpoint, rig.graph, rig.enc, rig.backend, rig.model, 1, NULL, &err), TN_OK);
    assert_int_equal(rig.backend->seal(rig.model, &err), TN_OK);
    for (uint32_t g = 0; g < rig.api->kv_group_count; g++)
        assert_int_equal(rig.backend->kv_reserve(rig.model, g, rig.pages, &err), TN_OK);
    assert_int_equal(wait_for(&rig, decode_batch_submit(&rig, &d.batch), &err), TN_OK);
    close_rig(&rig, path);
}

static void *abort_soon(void *rig)
{
    ((model_rig *)rig)->backend->abort(((model_rig *)rig)->dev);
    return NULL;
}

static void test_abort_ends_a_wait_for_a_rank_that_never_comes(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    pthread_t thread;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    host_device_hold(1, 1);
    uint64_t ticket = submit_row(&rig, &(uint32_t){0}, &d);
    assert_int_equal(pthread_create(&thread, NULL, abort_soon, &rig), 0);
    assert_int_equal(wait_for(&rig, ticket, &err), TN_E_CANCELLED);
    pthread_join(thread, NULL);
    expect_no_more_steps(&rig, &d, TN_E_CANCELLED);
    host_device_hold(1, 0);
    close_rig(&rig, path);
}

/* ---- libraries that fail ---- */

#ifdef OVER_LIBRARIES
static void test_a_product_that_fails_ends_every_wait(void **state)
{
    (void)state;
    enum { PRODUCT_ROWS = 20 };
    static float logits[PRODUCT_ROWS * FAMILY_VOCAB];
    tn_error err = TN_ERROR_INIT;
    int32_t position[PRODUCT_ROWS];
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "gemma2", 2, true, path);                                    /* its products have no bias */
    rig_step(&rig, &(rig_run){0, 0, PRODUCT_ROWS, family_prompt()}, 1, logits); /* slot 0 has its pages now */
    fake_cublaslt->break_with(13);
    assert_int_equal(wait_for(&rig, submit_row(&rig, &(uint32_t){0}, &d), &err), TN_OK); /* few rows are our kernels' */
    for (int32_t i = 0; i < PRODUCT_ROWS; i++)
        position[i] = i;
    d.batch.token = family_prompt();
    d.batch.position = position;
    d.batch.token_count = d.seq_start[1] = PRODUCT_ROWS;
    assert_int_equal(wait_for(&rig, decode_batch_submit(&rig, &d.batch), &err), TN_E_DEVICE_LOST);
    assert_non_null(strstr(err.msg, "cuBLASLt product: the execution failed"));
    fake_cublaslt->break_with(0);
    close_rig(&rig, path);
}

/* NCCL tells of a peer that is gone only to who asks, while the devices wait for it. */
static void test_what_nccl_reports_later_ends_every_wait(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    uint32_t length = 0;
    char path[256];
    decode_batch d;
    model_rig rig;

    open_rig(&rig, "llama", 2, false, path);
    assert_int_equal(wait_for(&rig, submit_row(&rig, &length, &d), &err), TN_OK);
    host_device_stall(0, 1);
    host_device_stall(1, 1);
    uint64_t ticket = submit_row(&rig, &length, &d);
    fake_nccl->report(1, FAKE_NCCL_REMOTE_ERROR);
    assert_int_equal(wait_for(&rig, ticket, &err), TN_E_DEVICE_LOST);
    assert_non_null(strstr(err.msg, "rank 1: NCCL"));
    assert_non_null(strstr(err.msg, "remote process exited"));
    close_rig(&rig, path);
    fake_nccl->report(1, 0);
    assert_int_equal(fake_nccl->live(), 0);
}
#endif

int main(void)
{
#ifdef OVER_LIBRARIES
    over_libraries_begin();
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_of_a_page_table_changes_once_a_step),
        cmocka_unit_test(test_warmup_says_what_it_cannot_take),
        cmocka_unit_test(test_pages_that_not_all_ranks_get_are_given_back),
        cmocka_unit_test(test_a_rank_without_room_for_a_graph_fails_the_warmup),
        cmocka_unit_test(test_a_rank_that_fails_ends_every_wait),
        cmocka_unit_test(test_a_device_that_fails_in_a_launch_ends_every_wait),
        cmocka_unit_test(test_a_device_that_fails_in_a_warmup_ends_it),
        cmocka_unit_test(test_a_device_that_fails_in_a_graph_ends_every_wait),
        cmocka_unit_test(test_a_model_is_freed_whose_step_never_ends),
        cmocka_unit_test(test_a_model_is_freed_with_a_step_that_nobody_waited_for),
        cmocka_unit_test(test_abort_ends_a_wait_for_a_rank_that_never_comes),
#ifdef OVER_LIBRARIES
        cmocka_unit_test(test_a_product_that_fails_ends_every_wait),
        cmocka_unit_test(test_what_nccl_reports_later_ends_every_wait),
#endif
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}
