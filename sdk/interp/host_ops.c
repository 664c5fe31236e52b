/* host_ops.c: host memory posing as a device. A handle is the address; `run` is absent, so every node runs in the
 * reference kernels. The smallest complete tn.ops table, and the oracle backend of the tests.
 */
#include "tenon/interp.h"

#include <string.h>
#include <unistd.h>

struct tn_dev {
    uint32_t ordinal;
};

static tn_status host_device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    if (index > 0)
        return tn_fail(err, TN_E_NOT_FOUND, "host: there is no device %u", index);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    tn_devinfo info = {.struct_size = sizeof info, .score = 1};
    info.mem_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * page;
    info.mem_free = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * page;
    snprintf(info.name, sizeof info.name, "host reference");
    snprintf(info.mem_domain, sizeof info.mem_domain, "host");
    snprintf(info.features, sizeof info.features, "float64 sums, 1 thread");
    *ret_info = info;
    return TN_OK;
}

static tn_status host_open(const tn_open *request, tn_dev **ret_dev, tn_error *err)
{
    static tn_dev only;

    if (request->device_count > 1 || (request->device_count == 1 && request->ordinal[0] != 0))
        return tn_fail(err, TN_E_NOT_FOUND, "host: there is one device, number 0");
    *ret_dev = &only;
    return TN_OK;
}

static void host_close(tn_dev *dev)
{
    (void)dev;
}

static tn_status host_alloc(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err)
{
    (void)dev;
    (void)usage;
    if (bytes > SIZE_MAX - 63)
        return tn_fail(err, TN_E_MEMORY, "host: %llu bytes", (unsigned long long)bytes);
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory)
        return tn_fail(err, TN_E_MEMORY, "host: no memory for %llu bytes", (unsigned long long)bytes);
    *ret_handle = (uint64_t)(uintptr_t)memory;
    return TN_OK;
}

static void host_free(tn_dev *dev, uint64_t handle)
{
    (void)dev;
    free((void *)(uintptr_t)handle);
}

static void *host_map(tn_dev *dev, tn_buf buf)
{
    (void)dev;
    return (void *)(uintptr_t)(buf.handle + buf.offset);
}

static tn_status host_put(tn_dev *dev, tn_buf dst, const void *src, uint64_t bytes, tn_error *err)
{
    (void)err;
    memcpy(host_map(dev, dst), src, bytes);
    return TN_OK;
}

static tn_status host_get(tn_dev *dev, void *dst, tn_buf src, uint64_t bytes, tn_error *err)
{
    (void)err;
    memcpy(dst, host_map(dev, src), bytes);
    return TN_OK;
}

static tn_status host_sync(tn_dev *dev, tn_error *err)
{
    (void)dev;
    (void)err;
    return TN_OK;
}

const tn_ops_table *tn_interp_host_ops(void)
{
    static const tn_ops_table table = {.struct_size = sizeof table,
                                       .device = host_device,
                                       .open = host_open,
                                       .close = host_close,
                                       .alloc = host_alloc,
                                       .free = host_free,
                                       .put = host_put,
                                       .get = host_get,
                                       .sync = host_sync,
                                       .map = host_map};
    return &table;
}
