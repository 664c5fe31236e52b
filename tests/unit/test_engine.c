/* test_engine.c: requests through a whole engine, compared with what the fake model must answer. */
#include "engine_bench.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static void test_one_request_generates_the_expected_tokens(void **state)
{
    (void)state;
    bench bench = bench_defaults();
    int32_t prompt[40];
    bench_start(&bench);
    make_prompt(prompt, 40, 1);
    tn_request request = make_request(prompt, 40, 50);
    request.flags = TN_REQ_IGNORE_EOS | TN_REQ_LOGPROBS;
    answer *answer = bench_run(&bench, &request);
    assert_expected(&bench, &request, answer);
    free(answer);
    bench_stop(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request_generates_the_expected_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
