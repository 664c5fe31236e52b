/* test_expert_route.c: the largest logits are chosen, the lower number among equals, with their share of the softmax. */
#include "base/expert_route.h"
#include "cmocka_test.h"

#include <math.h>

static void test_the_largest_are_chosen_in_descending_order(void **state)
{
    (void)state;
    const float logits[] = {0.5f, 3.0f, -1.0f, 3.0f, 2.0f};
    uint32_t chosen[3];
    double weight[3], e = exp(-1.0);

    expert_route(logits, 5, 3, true, chosen, weight);
    assert_int_equal(chosen[0], 1);
    assert_int_equal(chosen[1], 3);
    assert_int_equal(chosen[2], 4);
    assert_true(fabs(weight[0] - 1 / (2 + e)) < 1e-12);
    assert_true(weight[1] == weight[0]);
    assert_true(fabs(weight[2] - e / (2 + e)) < 1e-12);
}

static void test_unnormalised_weights_are_shares_of_all(void **state)
{
    (void)state;
    const float logits[] = {1000.0f, 1001.0f};
    uint32_t chosen[1];
    double weight[1];

    expert_route(logits, 2, 1, false, chosen, weight);
    assert_int_equal(chosen[0], 1);
    assert_true(fabs(weight[0] - 1 / (1 + exp(-1.0))) < 1e-12);
}

/* A row of NaN must still choose experts that exist, each once. */
static void test_nan_chooses_valid_experts(void **state)
{
    (void)state;
    const float logits[] = {NAN, NAN, NAN};
    uint32_t chosen[2];
    double weight[2];

    expert_route(logits, 3, 2, true, chosen, weight);
    assert_true(chosen[0] < 3 && chosen[1] < 3 && chosen[0] != chosen[1]);
    assert_true(isnan(weight[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_largest_are_chosen_in_descending_order),
        cmocka_unit_test(test_unnormalised_weights_are_shares_of_all),
        cmocka_unit_test(test_nan_chooses_valid_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
