/* plugins/cuda_tp/device_catalog.h: GPUs as their drivers describe them, for planning where there is none. */
#ifndef CUDA_TP_DEVICE_CATALOG_H
#define CUDA_TP_DEVICE_CATALOG_H

#include "tenon/backend.h"

typedef struct described_device {
    const char *name;     /* as settings spell it */
    const char *features; /* for people: "sm_80, NVLink" */
    uint64_t mem_total;   /* bytes that the driver shows, less than is printed on the box */
} described_device;

/* By name, whatever the case; NULL if unknown. [any] */
const described_device *device_catalog_find(const char *name);
/* All names, ", " between them, for messages. [any] */
void device_catalog_names(char *text, size_t capacity);

#endif
