/* gpu_devices.c: the devices that the GPU tests find, one a line; 77 and the reason if there are none. */
#include "built_plugins.h"

#include <stdio.h>

int main(void)
{
    const uint32_t count = built_device_count();

    for (uint32_t i = 0; i < count; i++) {
        tn_devinfo info = {.struct_size = sizeof info};
        cuda_tp_backend()->device(i, &info, NULL);
        printf("device %u: %s, %.1f GiB, %s\n", i, info.name, (double)info.mem_total / (double)(1u << 30),
               info.features);
    }
    return count ? 0 : 77;
}
