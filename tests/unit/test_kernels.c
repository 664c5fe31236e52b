/* test_kernels.c: the reference kernels against the formulas of tenon/graph.h, written here a second time and naively.
 */
#include "cmocka_test.h"
#include "interp/kernels.h"

#include <math.h>

static void assert_close(float got, double want)
{
    if (!(fabs((double)got - want) <= 1e-6 * (1.0 + fabs(want))))
        fail_msg("%.9g, expected %.9g", (double)got, want);
}

static float wave(int i)
{
    return sinf((float)i * 1.7f + 0.3f);
}

static void test_linear_multiplies_by_the_transpose_and_adds_bias(void **state)
{
    (void)state;
    enum { ROWS = 19, K = 21, N = 5, STRIDE = 8 };
    float x[ROWS * K], w[N * K], bias[N], y[ROWS * STRIDE] = {0};

    for (int i = 0; i < ROWS * K; i++)
        x[i] = wave(i);
    for (int i = 0; i < N * K; i++)
        w[i] = wave(i + 1000);
    for (int i = 0; i < N; i++)
        bias[i] = wave(i + 2000);
    interp_linear(x, ROWS, K, w, bias, N, y, STRIDE);
    for (int r = 0; r < ROWS; r++) {
        for (int n = 0; n < N; n++) {
            double sum = (double)bias[n];
            for (int k = 0; k < K; k++)
                sum += (double)x[r * K + k] * (double)w[n * K + k];
            assert_close(y[r * STRIDE + n], sum);
        }
        assert_true(y[r * STRIDE + N] == 0.0f);
    }
}

static void test_rms_norm_works_on_runs_with_a_gain_offset(void **state)
{
    (void)state;
    const float x[8] = {1, 2, 3, 4, -2, 0, 2, 0}, gain[4] = {1, 0.5f, -1, 0};
    float y[8];

    interp_rms_norm(x, 1, 8, gain, 4, 0.25, 1.0, y);
    for (int run = 0; run < 2; run++) {
        double mean = 0;
        for (int i = 0; i < 4; i++)
            mean += (double)x[run * 4 + i] * (double)x[run * 4 + i] / 4;
        for (int i = 0; i < 4; i++)
            assert_close(y[run * 4 + i], (double)x[run * 4 + i] / sqrt(mean + 0.25) * ((double)gain[i] + 1.0));
    }
}

static void check_rope(uint32_t style, const int first[2], const int second[2])
{
    const float inv_freq[2] = {1.0f, 0.25f};
    interp_rope_spec spec = {
        .heads = 2, .head_dim = 6, .rotated = 4, .style = style, .magnitude = 1.5, .inv_freq = inv_freq};
    float x[12], y[12];

    for (int i = 0; i < 12; i++)
        x[i] = wave(i);
    interp_rope_row(x, &spec, 7, y);
    for (int head = 0; head < 2; head++) {
        const float *in = x + head * 6, *out = y + head * 6;
        for (int i = 0; i < 2; i++) {
            double angle = 7.0 * (double)inv_freq[i], a = (double)in[first[i]], b = (double)in[second[i]];
            assert_close(out[first[i]], 1.5 * (a * cos(angle) - b * sin(angle)));
            assert_close(out[second[i]], 1.5 * (a * sin(angle) + b * cos(angle)));
        }
        assert_true(out[4] == in[4] && out[5] == in[5]);
    }
}

static void test_rope_turns_halves_and_pairs(void **state)
{
    (void)state;
    check_rope(TN_ROPE_HALVES, (int[]){0, 1}, (int[]){2, 3});
    check_rope(TN_ROPE_PAIRS, (int[]){0, 2}, (int[]){1, 3});
}

static void test_activations_follow_their_definitions(void **state)
{
    (void)state;
    const float gate[5] = {-3, -0.5f, 0, 0.5f, 3}, up[5] = {1, 2, 3, -4, 5};
    float silu[5], tanh_gelu[5], gelu[5];

    interp_gated(gate, up, 5, TN_ACT_SILU, silu);
    interp_gated(gate, up, 5, TN_ACT_GELU_TANH, tanh_gelu);
    interp_gated(gate, up, 5, TN_ACT_GELU, gelu);
    for (int i = 0; i < 5; i++) {
        double g = (double)gate[i], u = (double)up[i], pi = acos(-1.0);
        assert_close(silu[i], g / (1 + exp(-g)) * u);
        assert_close(tanh_gelu[i], g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 * pow(g, 3)))) * u);
        assert_close(gelu[i], g * (1 + erf(g / sqrt(2.0))) / 2 * u);
    }
}

static void test_softcap_bounds_and_scales(void **state)
{
    (void)state;
    float x[3] = {-100, 0.5f, 40};
    float scaled[1] = {3};

    interp_softcap(x, 3, 0.5, 10.0);
    assert_close(x[0], 10 * tanh(-5.0));
    assert_close(x[1], 10 * tanh(0.025));
    assert_close(x[2], 10 * tanh(2.0));
    interp_softcap(scaled, 1, 2.0, 0.0);
    assert_true(scaled[0] == 6.0f);
}

/* Softmax over `count` scores and an optional sink, straight from the definition. */
static void naive_attention(const float *q, const float *k, const float *v, int count, double scale, double cap,
                            const float *sink, double out[3])
{
    double weights[16], sum = sink ? exp((double)*sink) : 0;

    for (int j = 0; j < count; j++) {
        double score = 0;
        for (int i = 0; i < 4; i++)
            score += (double)q[i] * (double)k[j * 4 + i];
        score *= scale;
        weights[j] = exp(cap != 0 ? cap * tanh(score / cap) : score);
        sum += weights[j];
    }
    for (int i = 0; i < 3; i++) {
        out[i] = 0;
        for (int j = 0; j < count; j++)
            out[i] += weights[j] / sum * (double)v[j * 3 + i];
    }
}

static void check_attention(double scale, double cap, const float *sink)
{
    enum { COUNT = 13 };
    float q[4], k[COUNT * 4], v[COUNT * 3], got[3];
    double acc[3], want[3];
    interp_attention_state state = {.acc = acc};

    for (int i = 0; i < 4; i++)
        q[i] = 3 * wave(i);
    for (int i = 0; i < COUNT * 4; i++)
        k[i] = wave(i * 3);
    for (int i = 0; i < COUNT * 3; i++)
        v[i] = wave(i * 5);
    interp_attention_init(&state, 3);
    interp_attention_add(&state, q, k, 4, v, 3, 5, 4, 3, scale, cap);
    interp_attention_add(&state, q, k + 5 * 4, 4, v + 5 * 3, 3, COUNT - 5, 4, 3, scale, cap);
    interp_attention_finish(&state, sink, 3, got);
    naive_attention(q, k, v, COUNT, scale, cap, sink, want);
    for (int i = 0; i < 3; i++)
        assert_close(got[i], want[i]);
}

static void test_running_attention_equals_softmax(void **state)
{
    (void)state;
    const float low = -2.0f, high = 20.0f;
    check_attention(0.5, 0.0, NULL);
    check_attention(4.0, 0.0, NULL);
    check_attention(0.5, 1.5, NULL);
    check_attention(0.5, 0.0, &low);
    check_attention(0.5, 0.0, &high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_multiplies_by_the_transpose_and_adds_bias),
        cmocka_unit_test(test_rms_norm_works_on_runs_with_a_gain_offset),
        cmocka_unit_test(test_rope_turns_halves_and_pairs),
        cmocka_unit_test(test_activations_follow_their_definitions),
        cmocka_unit_test(test_softcap_bounds_and_scales),
        cmocka_unit_test(test_running_attention_equals_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
