/* sdk/check/check_ops.c: a vendor's single-op kernels, node by node, each beside the reference on the same inputs. */
#include "check/checks.h"

#include "tenon/interp.h"

#include <string.h>

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

/* The table under test with a `run` that says which node it is at, should that be where the plugin crashes. */
static tn_ops_table under_test, with_names;

static tn_status run_named(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    static char name[80];
    snprintf(name, sizeof name, "single ops, %s", args->value_out[0].name);
    report_begin(name);
    tn_status status = under_test.run(dev, args, err);
    report_begin("single ops");
    return status;
}

static const tn_ops_table *name_nodes(const tn_ops_table *table)
{
    memcpy(&under_test, table, table->struct_size < sizeof under_test ? table->struct_size : sizeof under_test);
    under_test.struct_size = sizeof under_test;
    with_names = under_test;
    with_names.run = under_test.run ? run_named : NULL;
    return &with_names;
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
    tn_status status = tn_interp_check_ops(name_nodes(table), ERROR_MAX, on_op, report, &err);
    report_begin("single ops");
    if (status != TN_OK && report->failed == failed)
        report_fail(report, "%s", report_reason(status, &err));
}
