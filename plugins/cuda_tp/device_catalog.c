/* device_catalog.c: what cudaMemGetInfo gives as total, in MiB, with ECC as the card ships. Cards of one name differ by
 * a few MiB between driver releases, so these are the low end; settings may describe any other card.
 */
#include "device_catalog.h"

#include <string.h>
#include <strings.h>

#define MIB(n) ((uint64_t)(n) << 20)

static const described_device devices[] = {
    {"A10G", "sm_86, PCIe", MIB(22515)},        {"A100-40GB", "sm_80, NVLink", MIB(40326)},
    {"A100-80GB", "sm_80, NVLink", MIB(81037)}, {"L4", "sm_89, PCIe", MIB(22563)},
    {"L40S", "sm_89, PCIe", MIB(45372)},        {"H100", "sm_90, NVLink", MIB(81003)},
    {"H200", "sm_90, NVLink", MIB(143156)},     {"RTX-4090", "sm_89, PCIe", MIB(24080)},
};
enum { DEVICES = sizeof devices / sizeof *devices };

const described_device *device_catalog_find(const char *name)
{
    for (int i = 0; i < DEVICES; i++)
        if (strcasecmp(devices[i].name, name) == 0)
            return &devices[i];
    return NULL;
}

void device_catalog_names(char *text, size_t capacity)
{
    text[0] = '\0';
    for (int i = 0; i < DEVICES; i++)
        snprintf(text + strlen(text), capacity - strlen(text), "%s%s", i ? ", " : "", devices[i].name);
}
