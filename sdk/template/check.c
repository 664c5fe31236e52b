/* check.c: `make check`: the device's kernels beside the reference, without a model and without the core. */
#include "device.h"
#include "tenon/interp.h"
#include "tenon/plugin.h"

#include <string.h>

static void report(void *ctx, const tn_interp_finding *finding)
{
    (void)ctx;
    if (finding->ran)
        printf("%-10s %2u nodes on the device, error %.1e at %s\n", finding->op, finding->ran, finding->error,
               finding->node);
    else
        printf("%-10s left to the reference\n", finding->op);
}

int main(void)
{
    tn_error err = TN_ERROR_INIT;
    const tn_ops_table *ops = tn_plugin_entry()->get_interface(TN_OPS_ID);

    device_set_memory(64 << 20);
    if (tn_interp_check_ops(ops, 1e-5, report, NULL, &err) == TN_OK)
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return 1;
}
