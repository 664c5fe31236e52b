/* plugins/cuda_tp/meeting.h: how ranks of several processes come by the id that they meet under: tn.rendezvous. */
#ifndef CUDA_TP_MEETING_H
#define CUDA_TP_MEETING_H

#include "device_api.h"

/* Once, in init; borrowed until fini. */
void meeting_begin(const tn_host *host);
/* Rank 0's process makes the id and tells it; the others wait for it. first: rank of this process's first. A group
 * meets once in the life of its processes. TN_E_UNSUPPORTED: this core has no tn.rendezvous. [ctl] */
tn_status meeting_share_id(const device_api *api, const char *group_id, uint32_t first,
                           uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err);

#endif
