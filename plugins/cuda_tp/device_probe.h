/* plugins/cuda_tp/device_probe.h: what devices are and how they are connected, asked of the driver (libcuda) and of
 * NVML without a context on any of them: a context takes several hundred MiB of a card and stays until the process
 * ends, which is for those that are opened. Both libraries are found with dlopen.
 */
#ifndef CUDA_TP_DEVICE_PROBE_H
#define CUDA_TP_DEVICE_PROBE_H

#include "tenon/backend.h"

#include <stddef.h>

typedef struct nvml_device *nvml_device;
typedef struct nvml_memory {
    unsigned long long total, available, used;
} nvml_memory;
typedef struct device_uuid {
    uint8_t bytes[16];
} device_uuid;

/* Functions of two libraries that stay loaded; nothing to finish. */
typedef struct device_probe {
    int (*init)(unsigned flags);
    int (*get)(int *device, int ordinal);
    int (*get_name)(char *name, int size, int device);
    int (*get_total)(size_t *bytes, int device);
    int (*get_attribute)(int *value, int attribute, int device);
    int (*get_uuid)(device_uuid *uuid, int device);
    int (*get_peer_attribute)(int *value, int attribute, int device, int peer);
    int (*error_string)(int code, const char **text);
    /* NVML's, all NULL where it is not here: */
    int (*nvml_init)(void);
    int (*nvml_find)(const char *uuid, nvml_device *device);
    int (*nvml_get_memory)(nvml_device device, nvml_memory *memory);
    int (*nvml_get_peer_status)(nvml_device device, nvml_device peer, int what, int *status);
} device_probe;

/* driver, management: what dlopen is given, libcuda.so.1 and libnvidia-ml.so.1. Without the second, free memory is
 * taken to be all, which a line of the log says. TN_E_NOT_FOUND: there is no driver. [ctl] */
tn_status device_probe_open(device_probe *probe, const char *driver, const char *management, tn_error *err);
/* Fills all but struct_size and flags. Free memory is this moment's. [any] */
tn_status device_probe_describe(const device_probe *probe, uint32_t ordinal, tn_devinfo *info, tn_error *err);
/* "NVLink" or "PCIe"; "" for the same device. [any] */
const char *device_probe_link(const device_probe *probe, uint32_t ordinal, uint32_t peer);

#endif
