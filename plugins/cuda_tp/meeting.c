/* plugins/cuda_tp/meeting.c: see meeting.h. */
#include "meeting.h"

#include "tenon/rendezvous.h"

#include <stdio.h>

enum { PATIENCE_MS = 600000 }; /* for a process that is still opening its devices; one that is lost is known sooner */

static const tn_host *chosen;

void meeting_begin(const tn_host *host)
{
    chosen = host;
}

tn_status meeting_share_id(const device_api *api, const char *group_id, uint32_t first,
                           uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err)
{
    const tn_rendezvous_table *table = chosen ? chosen->get_interface(chosen, TN_RENDEZVOUS_ID) : NULL;
    char key[TN_RENDEZVOUS_KEY_MAX + 1];
    uint64_t n = COLLECTIVE_ID_BYTES;

    if (!table)
        return tn_fail(err, TN_E_UNSUPPORTED, "this core gives no rendezvous to the processes of a group");
    snprintf(key, sizeof key, "cuda_tp/ranks/%.100s", group_id);
    if (first > 0)
        return table->get(chosen, key, ret_id, &n, PATIENCE_MS, err);
    tn_status status = api->collective_id(ret_id, err);
    return status == TN_OK ? table->put(chosen, key, ret_id, n, err) : status;
}
