/* test_cuda_ordered_sum.c: sums over ranks in rank order, of more elements than are gathered at once, beside a loop.
 * The ranks are arrays here, and one of them asks.
 */
#include "cuda_rig.h"

#include "ordered_sum.h"

enum { WORLD = 3, ELEMENTS = 2 * ORDERED_SUM_PIECE + 40, ASKING = 1 };

typedef struct arrays {
    collective base;
    const uint8_t *part[WORLD];
    uint64_t most; /* bytes of a rank that were gathered at once */
} arrays;

static tn_status gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes, cuda_stream stream,
                        tn_error *err)
{
    arrays *a = (arrays *)c;
    uint64_t offset = (uint64_t)((const uint8_t *)in - a->part[rank]);

    (void)stream, (void)err;
    for (uint32_t r = 0; r < WORLD; r++)
        memcpy((uint8_t *)out + r * bytes, a->part[r] + offset, bytes);
    a->most = bytes > a->most ? bytes : a->most;
    return TN_OK;
}

static void test_pieces_add_up_in_rank_order(void **state)
{
    (void)state;
    static const collective_api api = {.all_gather = gather};
    uint32_t seed = 3;
    tn_error err = TN_ERROR_INIT;
    uint16_t *part[WORLD], *out = rig_alloc(ELEMENTS * sizeof *out);
    arrays a = {.base.api = &api};

    for (uint32_t r = 0; r < WORLD; r++) {
        part[r] = rig_bf16(ELEMENTS, 1, &seed);
        a.part[r] = (const uint8_t *)part[r];
    }
    uint64_t bytes = ordered_sum_bytes(WORLD, ELEMENTS, TN_BF16);
    void *scratch = rig_alloc(bytes);
    assert_int_equal(ordered_sum(&a.base, ASKING, WORLD, part[ASKING], out, ELEMENTS, TN_BF16, scratch, NULL, &err),
                     TN_OK);
    assert_int_equal(bytes, WORLD * a.most);
    for (uint32_t i = 0; i < ELEMENTS; i++) {
        float first = float_from_bf16(part[0][i]) + float_from_bf16(part[1][i]);
        if (out[i] != bf16_from_float(first + float_from_bf16(part[2][i])))
            fail_msg("element %u", i);
    }
    for (uint32_t r = 0; r < WORLD; r++)
        free(part[r]);
    free(out), free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_add_up_in_rank_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
