/* device.c: host memory posing as a device with memory of its own.
 *
 * A handle is an address that only this file and kernels.c look behind; the core treats it as a number. Here put, get
 * and sync are copies and nothing; on a real card they go to a stream, and an allocation is the driver's. Open the
 * driver's library with dlopen in device_open, so that describing devices works on machines without one.
 */
#include "device.h"

#include <stdlib.h>
#include <string.h>

struct tn_dev {
    uint64_t free_bytes; /* of device_memory */
};

/* In front of each allocation, on a cache line of its own. */
typedef struct block {
    uint64_t bytes;
    unsigned char padding[56];
} block;

static uint64_t device_memory;

void device_set_memory(uint64_t bytes)
{
    device_memory = bytes;
}

tn_status device_describe(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    if (index > 0)
        return tn_fail(err, TN_E_NOT_FOUND, "template: there is no device %u", index);
    *ret_info = (tn_devinfo){.struct_size = sizeof *ret_info,
                             .score = 1,
                             .mem_total = device_memory,
                             .mem_free = device_memory,
                             .name = "template device",
                             .mem_domain = "template",
                             .features = "linear, rms_norm"};
    return TN_OK;
}

tn_status device_open(const tn_open *request, tn_dev **ret_dev, tn_error *err)
{
    if (request->device_count > 1 || (request->device_count == 1 && request->ordinal[0] != 0))
        return tn_fail(err, TN_E_NOT_FOUND, "template: there is one device, number 0");
    tn_dev *dev = calloc(1, sizeof *dev);
    if (!dev)
        return tn_fail(err, TN_E_MEMORY, "template: no memory to open the device");
    dev->free_bytes = device_memory;
    *ret_dev = dev;
    return TN_OK;
}

void device_close(tn_dev *dev)
{
    free(dev);
}

tn_status device_alloc(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err)
{
    (void)usage; /* a real device may keep weights, activations and KV in different kinds of memory */
    if (bytes > dev->free_bytes)
        return tn_fail(err, TN_E_MEMORY, "template: %llu bytes asked for, %llu of device memory are free",
                       (unsigned long long)bytes, (unsigned long long)dev->free_bytes);
    block *memory = aligned_alloc(64, sizeof *memory + (bytes + 63) / 64 * 64);
    if (!memory)
        return tn_fail(err, TN_E_MEMORY, "template: no host memory for %llu bytes", (unsigned long long)bytes);
    memory->bytes = bytes;
    dev->free_bytes -= bytes;
    *ret_handle = (uint64_t)(uintptr_t)(memory + 1);
    return TN_OK;
}

void device_free(tn_dev *dev, uint64_t handle)
{
    block *memory = (block *)(uintptr_t)handle - 1;

    dev->free_bytes += memory->bytes;
    free(memory);
}

float *device_floats(const tn_dev *dev, tn_buf buf)
{
    (void)dev;
    return (float *)(uintptr_t)(buf.handle + buf.offset);
}

tn_status device_put(tn_dev *dev, tn_buf dst, const void *src, uint64_t bytes, tn_error *err)
{
    (void)err;
    memcpy(device_floats(dev, dst), src, bytes);
    return TN_OK;
}

tn_status device_get(tn_dev *dev, void *dst, tn_buf src, uint64_t bytes, tn_error *err)
{
    (void)err;
    memcpy(dst, device_floats(dev, src), bytes);
    return TN_OK;
}

tn_status device_sync(tn_dev *dev, tn_error *err)
{
    (void)dev, (void)err;
    return TN_OK;
}
