/* fake_driver.c: a library with names of the NVIDIA driver and of NVML, for device_probe.c: three GPUs, of which NVML
 * knows the first two, the second as a part of a card. Devices 0 and 1 have NVLink by NVML's word, and 0 and 2 by the
 * driver's.
 */
#include "device_probe.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { DEVICES = 3, FAILED = 100, MULTIPROCESSORS = 16, MAJOR = 75, MINOR = 76, ATOMICS = 3, NVLINK = 2 };

static int is_ready, nvml_is_ready;
struct nvml_device {
    int device;
};
static struct nvml_device shown[2] = {{0}, {1}};

EXPORT int cuInit(unsigned flags)
{
    is_ready = flags == 0;
    return flags == 0 ? 0 : FAILED;
}

EXPORT int cuGetErrorString(int code, const char **text)
{
    *text = code == FAILED ? "no CUDA-capable device is detected" : NULL;
    return 0;
}

/* A handle is no ordinal. */
EXPORT int cuDeviceGet(int *device, int ordinal)
{
    *device = ordinal + 10;
    return is_ready && ordinal < DEVICES ? 0 : FAILED;
}

EXPORT int cuDeviceGetName(char *name, int size, int device)
{
    snprintf(name, (size_t)size, "GPU number %d", device - 10);
    return 0;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    *bytes = (size_t)(device - 9) << 34;
    return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == MULTIPROCESSORS ? 132 - device + 10 : attribute == MAJOR ? 9 : attribute == MINOR ? 0 : -1;
    return 0;
}

EXPORT int cuDeviceGetUuid_v2(device_uuid *uuid, int device)
{
    for (int i = 0; i < 16; i++)
        uuid->bytes[i] = (uint8_t)(16 * (device - 10) + i);
    return 0;
}

EXPORT int cuDeviceGetP2PAttribute(int *value, int attribute, int device, int peer)
{
    *value = attribute == ATOMICS && device + peer == 22;
    return 0;
}

EXPORT int nvmlInit_v2(void)
{
    nvml_is_ready = 1;
    return 0;
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, nvml_device *device)
{
    if (!nvml_is_ready)
        return FAILED;
    if (strcmp(uuid, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f") == 0)
        *device = &shown[0];
    else if (strcmp(uuid, "MIG-10111213-1415-1617-1819-1a1b1c1d1e1f") == 0)
        *device = &shown[1];
    else
        return FAILED;
    return 0;
}

EXPORT int nvmlDeviceGetMemoryInfo(nvml_device device, nvml_memory *memory)
{
    *memory = (nvml_memory){.total = 1ull << 34, .available = (1ull << 33) + (unsigned)device->device, .used = 1};
    return 0;
}

EXPORT int nvmlDeviceGetP2PStatus(nvml_device device, nvml_device peer, int what, int *status)
{
    *status = what == NVLINK && device != peer ? 0 : 1;
    return 0;
}
