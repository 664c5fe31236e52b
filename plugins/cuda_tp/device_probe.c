/* device_probe.c: see device_probe.h. Names and numbers are the driver's and NVML's, which keep them; devices are in
 * the order that CUDA numbers them in, so NVML, which has another, is asked by a device's UUID.
 */
#include "device_probe.h"

#include "host_log.h"
#include "symbols.h"

#include "base/hex.h"

#include <string.h>

enum {
    ATTRIBUTE_PROCESSORS = 16,
    ATTRIBUTE_MAJOR = 75,
    ATTRIBUTE_MINOR = 76,
    PEER_ATTRIBUTE_ATOMICS = 3, /* on each other's memory: over NVLink, not over PCIe */
    NVML_PEER_NVLINK = 2
};

static const symbol driver_symbols[] = {
    {"cuInit", offsetof(device_probe, init)},
    {"cuDeviceGet", offsetof(device_probe, get)},
    {"cuDeviceGetName", offsetof(device_probe, get_name)},
    {"cuDeviceTotalMem_v2", offsetof(device_probe, get_total)},
    {"cuDeviceGetAttribute", offsetof(device_probe, get_attribute)},
    {"cuDeviceGetUuid_v2", offsetof(device_probe, get_uuid)},
    {"cuDeviceGetP2PAttribute", offsetof(device_probe, get_peer_attribute)},
    {"cuGetErrorString", offsetof(device_probe, error_string)},
};
static const symbol nvml_symbols[] = {
    {"nvmlInit_v2", offsetof(device_probe, nvml_init)},
    {"nvmlDeviceGetHandleByUUID", offsetof(device_probe, nvml_find)},
    {"nvmlDeviceGetMemoryInfo", offsetof(device_probe, nvml_get_memory)},
    {"nvmlDeviceGetP2PStatus", offsetof(device_probe, nvml_get_peer_status)},
};
enum {
    DRIVER_SYMBOLS = sizeof driver_symbols / sizeof *driver_symbols,
    NVML_SYMBOLS = sizeof nvml_symbols / sizeof *nvml_symbols
};

static tn_status check(const device_probe *probe, int code, const char *what, tn_error *err)
{
    const char *text = NULL;

    if (code == 0)
        return TN_OK;
    probe->error_string(code, &text);
    tn_fail(err, TN_E_DEVICE_LOST, "%s: %s", what, text ? text : "an unknown error of the driver");
    if (err)
        err->native_code = code;
    return TN_E_DEVICE_LOST;
}

static void open_management(device_probe *probe, const char *management)
{
    const char *why = "does not start";
    void *library = dlopen(management, RTLD_NOW | RTLD_LOCAL);

    if (!library)
        why = "is not here";
    else if (symbols_find(library, nvml_symbols, NVML_SYMBOLS, probe))
        why = "is too old";
    else if (probe->nvml_init() == 0)
        return;
    host_log(TN_LOG_WARNING, "NVML (%s) %s: what is free of the devices' memory is not known, and taken to be all",
             management, why);
    probe->nvml_init = NULL;
}

tn_status device_probe_open(device_probe *probe, const char *driver, const char *management, tn_error *err)
{
    void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);

    *probe = (device_probe){0};
    if (!library)
        return tn_fail(err, TN_E_NOT_FOUND, "the NVIDIA driver: %.300s", dlerror());
    const char *missing = symbols_find(library, driver_symbols, DRIVER_SYMBOLS, probe);
    if (missing)
        return tn_fail(err, TN_E_NOT_FOUND, "the NVIDIA driver (%.200s) has no %s: it is too old, update it", driver,
                       missing);
    open_management(probe, management);
    return check(probe, probe->init(0), "the NVIDIA driver", err);
}

/* ---- devices ---- */

/* NULL: NVML is not here, or does not show the device. */
static nvml_device find_nvml(const device_probe *probe, int device)
{
    static const uint32_t part[] = {4, 2, 2, 2, 6}; /* bytes between dashes */
    static const char *const kind[] = {"GPU", "MIG"};
    device_uuid uuid;
    nvml_device found = NULL;

    if (!probe->nvml_init || probe->get_uuid(&uuid, device) != 0)
        return NULL;
    for (uint32_t k = 0; k < 2; k++) {
        char text[48];
        size_t used = (size_t)snprintf(text, sizeof text, "%s", kind[k]);
        for (uint32_t i = 0, at = 0; i < 5; at += part[i++]) {
            text[used++] = '-';
            hex_of(uuid.bytes + at, part[i], text + used);
            used += 2 * part[i];
        }
        if (probe->nvml_find(text, &found) == 0)
            return found;
    }
    return NULL;
}

static uint64_t free_memory(const device_probe *probe, int device, uint64_t total)
{
    nvml_memory memory;
    nvml_device found = find_nvml(probe, device);

    return found && probe->nvml_get_memory(found, &memory) == 0 && memory.available < total ? memory.available : total;
}

tn_status device_probe_describe(const device_probe *probe, uint32_t ordinal, tn_devinfo *info, tn_error *err)
{
    int device, major = 0, minor = 0, processors = 0;
    size_t total = 0;
    char name[64] = "";

    tn_status status = check(probe, probe->get(&device, (int)ordinal), "the device", err);
    if (status == TN_OK)
        status = check(probe, probe->get_name(name, sizeof name, device), "the device's name", err);
    if (status == TN_OK)
        status = check(probe, probe->get_total(&total, device), "the device's memory", err);
    if (status == TN_OK)
        status = check(probe, probe->get_attribute(&major, ATTRIBUTE_MAJOR, device), "the device's capability", err);
    if (status == TN_OK)
        status = check(probe, probe->get_attribute(&minor, ATTRIBUTE_MINOR, device), "the device's capability", err);
    if (status == TN_OK)
        status = check(probe, probe->get_attribute(&processors, ATTRIBUTE_PROCESSORS, device),
                       "the device's multiprocessors", err);
    if (status != TN_OK)
        return status;
    info->ordinal = ordinal;
    info->score = (uint32_t)(total >> 20);
    info->mem_total = total;
    info->mem_free = free_memory(probe, device, total);
    snprintf(info->name, sizeof info->name, "%.60s", name);
    snprintf(info->mem_domain, sizeof info->mem_domain, "cuda%u", ordinal);
    snprintf(info->features, sizeof info->features, "sm_%d%d, %d multiprocessors", major, minor, processors);
    return TN_OK;
}

const char *device_probe_link(const device_probe *probe, uint32_t ordinal, uint32_t peer)
{
    int a, b, status, atomics = 0;

    if (ordinal == peer || probe->get(&a, (int)ordinal) != 0 || probe->get(&b, (int)peer) != 0)
        return "";
    nvml_device from = find_nvml(probe, a), to = find_nvml(probe, b);
    if (from && to && probe->nvml_get_peer_status(from, to, NVML_PEER_NVLINK, &status) == 0)
        return status == 0 ? "NVLink" : "PCIe";
    if (probe->get_peer_attribute(&atomics, PEER_ATTRIBUTE_ATOMICS, a, b) != 0)
        atomics = 0;
    return atomics ? "NVLink" : "PCIe";
}
