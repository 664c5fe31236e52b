/* runtime/pool/device_catalog.h: cards as their makers and drivers describe them, for planning where there is none. */
#ifndef POOL_DEVICE_CATALOG_H
#define POOL_DEVICE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum device_link { DEVICE_LINK_UNKNOWN, DEVICE_LINK_PCIE, DEVICE_LINK_NVLINK } device_link;

typedef struct device_card {
    const char *name;        /* as settings spell it */
    const char *compute;     /* compute capability, as compilers spell it */
    uint64_t memory;         /* bytes that the driver shows, less than is printed on the box */
    double memory_bandwidth; /* bytes a second */
    double bf16_flops;       /* a second, dense, f32 accumulation */
    device_link link;        /* between such cards of one node, as they are usually sold */
    double link_bandwidth;   /* bytes a second, one way */
} device_card;

/* By name, whatever the case; NULL if unknown. [any] */
const device_card *device_card_find(const char *name);
/* The index-th; NULL past the last. [any] */
const device_card *device_card_at(uint32_t index);
/* "NVLink", "PCIe" or "unknown". [any] */
const char *device_link_name(device_link link);

/* Bytes a second, one way, of such a link where the card does not say: PCIe 4.0 x16, NVLink of an A100. [any] */
double device_link_bandwidth(device_link link);

#endif
