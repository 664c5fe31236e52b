/* host_plugin.c: what a test may ask of the plugin over host memory, from outside its process: TENON_TEST_FAIL_COPY is
 * "DEVICE:N": the N-th copy on that device fails, and all later ones. TENON_TEST_HOLD is the device whose copies wait
 * for ever.
 */
#include "host_device.h"

#include <stdlib.h>

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("TENON_TEST_FAIL_COPY"), *held = getenv("TENON_TEST_HOLD");
    uint32_t ordinal, after;

    if (text && sscanf(text, "%u:%u", &ordinal, &after) == 2)
        host_device_fail_copy(ordinal, after);
    if (held && sscanf(held, "%u", &ordinal) == 1)
        host_device_hold(ordinal, 1);
}
