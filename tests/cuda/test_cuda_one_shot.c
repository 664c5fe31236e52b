/* test_cuda_one_shot.c: when sums over ranks read the other devices' memory: by link, number of ranks and settings, and
 * only where every device reaches every other; and that a rank which waits for one that never comes is freed.
 */
#include "cuda_rig.h"

#include "one_shot.h"
#include "plugin_options.h"

#include <pthread.h>

enum { RANKS = CUDA_RANKS_MAX, ELEMENTS = 64, AREA_OFFSET = 1024, RANK_BYTES = AREA_OFFSET + ONE_SHOT_BYTES };

static const char *link_name;
static uint32_t in_use, unreached; /* device that no other reaches; RANKS: none */

static tn_status use(uint32_t ordinal, tn_error *err)
{
    (void)err;
    in_use = ordinal;
    return TN_OK;
}

static const char *link_of(uint32_t ordinal, uint32_t peer)
{
    return ordinal == peer ? "" : link_name;
}

static tn_status peer_enable(uint32_t ordinal, uint32_t peer, bool *ret_reached, tn_error *err)
{
    (void)err;
    assert_int_equal(ordinal, in_use);
    assert_int_not_equal(ordinal, peer);
    *ret_reached = peer != unreached;
    return TN_OK;
}

static tn_status alloc_host(uint64_t bytes, void **ret, tn_error *err)
{
    (void)err;
    *ret = malloc(bytes);
    assert_non_null(*ret);
    return TN_OK;
}

static const device_api device = {
    .use = use, .link = link_of, .peer_enable = peer_enable, .alloc_host = alloc_host, .release_host = free};
static const uint32_t ordinals[RANKS] = {0, 1, 2, 3, 4, 5, 6, 7};

/* The longest message that is taken, 0: none. */
static uint64_t limit_of(uint32_t world, const char *link, const uint32_t *ordinal)
{
    uint8_t *base[RANKS + 1] = {NULL};
    one_shot o;
    tn_error err = TN_ERROR_INIT;

    link_name = link;
    assert_int_equal(one_shot_open(&o, &device, world, ordinal, base, 0, &err), TN_OK);
    uint64_t limit = one_shot_takes(&o, 1) ? o.bytes_max : 0;
    assert_false(one_shot_takes(&o, limit + 1));
    one_shot_abort(&o);
    one_shot_close(&o);
    assert_false(one_shot_takes(&o, 0));
    return limit;
}

static void test_messages_are_taken_by_link_and_number_of_ranks(void **state)
{
    (void)state;
    static const uint32_t nine[RANKS + 1] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, same[2] = {3, 3};

    unreached = RANKS;
    assert_int_equal(limit_of(1, "NVLink", ordinals), 0);
    assert_int_equal(limit_of(2, "NVLink", ordinals), 512 << 10);
    assert_int_equal(limit_of(4, "NVLink", ordinals), 512 << 10);
    assert_int_equal(limit_of(8, "NVLink", ordinals), 256 << 10);
    assert_int_equal(limit_of(2, "PCIe", ordinals), 64 << 10);
    assert_int_equal(limit_of(4, "PCIe", ordinals), 0);
    assert_int_equal(limit_of(RANKS + 1, "NVLink", nine), 0);
    assert_int_equal(limit_of(2, "NVLink", same), 0);
    for (unreached = 0; unreached < 4; unreached++)
        assert_int_equal(limit_of(4, "NVLink", ordinals), 0);
    unreached = RANKS;
}

static void test_the_setting_is_the_limit(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(plugin_option_set("one_shot_bytes", "4096", &err), TN_OK);
    assert_int_equal(limit_of(4, "PCIe", ordinals), 4096);
    assert_int_equal(plugin_option_set("one_shot_bytes", "0", &err), TN_OK);
    assert_int_equal(limit_of(4, "NVLink", ordinals), 0);
    assert_int_equal(plugin_option_set("one_shot_bytes", "-1", &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "[cuda_tp] one_shot_bytes = -1"));
    assert_int_equal(plugin_option_set("one_shot_bytes", "4k", &err), TN_E_ARGUMENT);
    assert_int_equal(plugin_option_set("one_shot_bytes", "auto", &err), TN_OK);
    assert_int_equal(limit_of(2, "NVLink", ordinals), 512 << 10);
}

/* ---- sums ---- */

typedef struct seat {
    const one_shot *o;
    uint32_t rank;
    uint8_t *base; /* what is added up, what comes out, flags */
    tn_status status;
} seat;

static void *sum(void *context)
{
    seat *s = context;
    s->status = one_shot_sum(s->o, s->rank, s->base, s->base + AREA_OFFSET / 2, ELEMENTS, TN_F32, NULL);
    return NULL;
}

static void open_two(one_shot *o, seat seats[2])
{
    uint8_t *base[2];
    tn_error err = TN_ERROR_INIT;

    link_name = "NVLink";
    unreached = RANKS;
    for (uint32_t r = 0; r < 2; r++) {
        base[r] = rig_alloc(RANK_BYTES);
        memset(base[r] + AREA_OFFSET, 0, ONE_SHOT_BYTES);
        for (uint32_t i = 0; i < ELEMENTS; i++)
            ((float *)(void *)base[r])[i] = (float)(i + 1000 * r);
        seats[r] = (seat){.o = o, .rank = r, .base = base[r]};
    }
    assert_int_equal(one_shot_open(o, &device, 2, ordinals, base, AREA_OFFSET, &err), TN_OK);
}

static void close_two(one_shot *o, seat seats[2])
{
    one_shot_close(o);
    free(seats[0].base), free(seats[1].base);
}

static void test_ranks_find_each_other_at_the_same_offset(void **state)
{
    (void)state;
    one_shot o;
    seat seats[2];
    pthread_t thread;

    open_two(&o, seats);
    for (uint32_t round = 0; round < 3; round++) {
        assert_int_equal(pthread_create(&thread, NULL, sum, &seats[1]), 0);
        sum(&seats[0]);
        pthread_join(thread, NULL);
        for (uint32_t r = 0; r < 2; r++) {
            assert_int_equal(seats[r].status, TN_OK);
            for (uint32_t i = 0; i < ELEMENTS; i++)
                assert_true(((float *)(void *)(seats[r].base + AREA_OFFSET / 2))[i] == (float)(2 * i + 1000));
        }
    }
    close_two(&o, seats);
}

static void test_an_abort_frees_who_waits(void **state)
{
    (void)state;
    one_shot o;
    seat seats[2];
    pthread_t thread;

    open_two(&o, seats);
    assert_int_equal(pthread_create(&thread, NULL, sum, &seats[0]), 0); /* rank 1 never comes */
    one_shot_abort(&o);
    pthread_join(thread, NULL);
    sum(&seats[1]); /* nor does it wait any more */
    close_two(&o, seats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_taken_by_link_and_number_of_ranks),
        cmocka_unit_test(test_the_setting_is_the_limit),
        cmocka_unit_test(test_ranks_find_each_other_at_the_same_offset),
        cmocka_unit_test(test_an_abort_frees_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
