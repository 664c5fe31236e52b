/* tests/cuda/built_plugins.h: the plugins of a test of whole models: linked in, or (ON_DEVICE, gpu_plugins.c) the built
 * modules in the folder TENON_PLUGINS, so that many programs share one copy of the device code, and it is the one that
 * is shipped.
 */
#ifndef TESTS_BUILT_PLUGINS_H
#define TESTS_BUILT_PLUGINS_H

#include "cuda_tp/backend.h"
#include "tenon/plugin.h"
#include "tenon/quant.h"

#ifdef ON_DEVICE
/* id: the module's name, "quant_gguf". They, and cuda_tp_backend(), end the program with a sentence if it cannot be had.
 */
const tn_quant_table *built_quant(const char *id);
const tn_backend *built_backend(const char *id);
/* Devices that there are; 0: none, and why is printed. */
uint32_t built_device_count(void);
#else
static inline const tn_quant_table *built_quant(const char *id)
{
    (void)id;
    return tn_plugin_entry()->get_interface(TN_QUANT_ID);
}
#endif

#endif
