/* roi_print.c: costs as text for people and as an object for programs. */
#include "plan/print.h"
#include "plan/roi_chart.h"

#include <math.h>

static void print_throughput(const roi *roi, FILE *out)
{
    const throughput *t = &roi->throughput;
    if (t->measured) {
        fprintf(out, "  throughput    %.0f answer tokens/s of one replica, measured\n", t->answer_tokens_per_second);
        return;
    }
    fprintf(out,
            "  throughput    %.0f answer tokens/s of one replica, estimated: %u sequences at once, at %.0f %% of the "
            "memory's\n",
            t->answer_tokens_per_second, t->batch, 100 * THROUGHPUT_BANDWIDTH_SHARE);
    fprintf(out, "                and %.0f %% of the arithmetic rate that the device's maker states\n",
            100 * THROUGHPUT_FLOPS_SHARE);
}

static void print_volume(const roi *roi, FILE *out)
{
    char volume[24], here[40], elsewhere[40], saved[40];
    double own = roi->pools * roi->pool_cost, others = roi_cost_elsewhere(roi, roi->volume);

    fprintf(out, "  your volume   %s tokens: %.0f %s in %.0f %s, %s %s; elsewhere %s\n",
            roi_format_volume(roi->volume, volume), roi->replicas, roi->replicas == 1 ? "replica" : "replicas",
            roi->pools, roi->pools == 1 ? "pool" : "pools", roi_format_money(own, here), roi->currency,
            roi_format_money(others, elsewhere));
    fprintf(out, "                %s saves %s a month\n", own < others ? "the pool" : "elsewhere",
            roi_format_money(fabs(own - others), saved));
}

/* Without a volume, what the peak alone takes. */
static void print_peak(const roi *roi, FILE *out)
{
    char money[40];

    fprintf(out, "  your peak     %.0f answer tokens/s: %.0f %s in %.0f %s, %s %s\n", roi->peak_tokens_per_second,
            roi->replicas, roi->replicas == 1 ? "replica" : "replicas", roi->pools, roi->pools == 1 ? "pool" : "pools",
            roi_format_money(roi->pools * roi->pool_cost, money), roi->currency);
}

void roi_print(const roi *roi, FILE *out)
{
    char money[40], volume[24];

    fprintf(out, "\nmonth in pool %s: %s %s\n", roi->pool, roi_format_money(roi->pool_cost, money), roi->currency);
    print_throughput(roi, out);
    fprintf(out, "  capacity      %s tokens a month, %u %s at %.0f %% load\n", roi_format_volume(roi->capacity, volume),
            roi->replicas_in_pool, roi->replicas_in_pool == 1 ? "replica" : "replicas", 100 * ROI_LOAD);
    fprintf(out, "  elsewhere     %.4g %s a million tokens, of which %.0f %% prompt, %.0f %% cached, %.0f %% answer\n",
            roi->price, roi->currency, 100 * roi->share.input, 100 * roi->share.cached, 100 * roi->share.output);
    if (!isfinite(roi->break_even))
        fprintf(out, "  break-even    unreachable: elsewhere costs nothing\n");
    else
        fprintf(out, "  break-even    %s tokens a month%s\n", roi_format_volume(roi->break_even, volume),
                roi->reachable ? "" : ": unreachable, more than the pool's capacity");
    if (roi->volume > 0)
        print_volume(roi, out);
    else if (roi->peak_tokens_per_second > 0)
        print_peak(roi, out);
    fputc('\n', out);
    roi_chart_print(roi, out);
}

json_t *roi_json(const roi *roi)
{
    json_t *root = json_pack("{s:s, s:f, s:f, s:b, s:f, s:i, s:f, s:b, s:f, s:f, s:f, s:f}", "currency", roi->currency,
                             "pool_cost", roi->pool_cost, "tokens_per_second", roi->throughput.answer_tokens_per_second,
                             "measured", roi->throughput.measured, "capacity", roi->capacity, "replicas_in_pool",
                             (int)roi->replicas_in_pool, "price", roi->price, "reachable", roi->reachable, "volume",
                             roi->volume, "replicas", roi->replicas, "pools", roi->pools, "peak_tokens_per_second",
                             roi->peak_tokens_per_second);
    json_object_set_new(root, "break_even", isfinite(roi->break_even) ? json_real(roi->break_even) : json_null());
    if (!roi->throughput.measured) {
        json_object_set_new(root, "batch", json_integer(roi->throughput.batch));
        json_object_set_new(root, "step_seconds", json_real(roi->throughput.step_seconds));
        json_object_set_new(root, "prefill_seconds", json_real(roi->throughput.prefill_seconds));
    }
    json_object_set_new(root, "cost_here", json_real(roi->pools * roi->pool_cost));
    json_object_set_new(root, "cost_elsewhere", json_real(roi_cost_elsewhere(roi, roi->volume)));
    return root;
}
