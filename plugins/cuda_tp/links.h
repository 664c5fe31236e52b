/* plugins/cuda_tp/links.h: how the devices of a group are connected, each with each. */
#ifndef CUDA_TP_LINKS_H
#define CUDA_TP_LINKS_H

#include "device_api.h"

#include <stddef.h>

/* One sentence of the links of every pair into `line`, and the level to log it at: a warning where some are PCIe.
 * False: there are no pairs. */
bool links_describe(const device_api *api, uint32_t count, const uint32_t *ordinal, char *line, size_t size,
                    uint32_t *ret_level);
/* True if every pair is connected by NVLink. */
bool links_are_fast(const device_api *api, uint32_t count, const uint32_t *ordinal);

#endif
