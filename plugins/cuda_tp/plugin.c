/* plugins/cuda_tp/plugin.c: the handshake. */
#include "backend.h"
#include "host_log.h"
#include "meeting.h"
#include "options.h"
#include "tenon/entry.h"

static tn_status plugin_init(const tn_host *host, tn_error *err)
{
    host_log_begin(host);
    meeting_begin(host);
    return options_read(host, err);
}

TN_PLUGIN_ENTRY(TN_BACKEND_ID, cuda_tp_backend(), .id = "cuda_tp", .version = "0.1.0", .vendor = "Tenon",
                .license = "Apache-2.0", .init = plugin_init, .options = options_table, .option_count = OPTION_COUNT,
                .option_stride = sizeof(tn_option))
