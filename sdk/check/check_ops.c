/* sdk/check/check_ops.c: a vendor's single-op kernels, node by node, each beside the reference on the same inputs. */
#include "check/checks.h"

#include "tenon/interp.h"

/* Float32 sums in another order stay well below; a wrong row or constant is far above. */
#define ERROR_MAX 1e-4

static void on_op(void *ctx, const tn_interp_finding *finding)
{
    report *report = ctx;
    report_begin(finding->op);
    if (!finding->ran)
        report_skip(report, "left to the reference kernel");
    else if (finding->error <= ERROR_MAX)
        report_pass(report, "%u nodes on the device, largest error %.1e", finding->ran, finding->error);
    else
        report_fail(report, "error %.1e at %s (limit %.0e of the output's largest value)", finding->error,
                    finding->node, ERROR_MAX);
}

void check_ops(report *report, const tn_ops_table *table)
{
    tn_error err = TN_ERROR_INIT;
    uint32_t failed = report->failed;
    tn_devinfo info = {.struct_size = sizeof info};
    report_begin("single ops");
    if (table->device(0, &info, &err) == TN_E_NOT_FOUND) {
        report_skip(report, "no device here");
        return;
    }
    tn_status status = tn_interp_check_ops(table, ERROR_MAX, on_op, report, &err);
    report_begin("single ops");
    if (status != TN_OK && report->failed == failed)
        report_fail(report, "%s", err.msg);
}
