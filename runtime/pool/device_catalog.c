/* device_catalog.c: what a driver shows as total memory, in MiB, with ECC as the card ships: the low end of what
 * PyTorch's out-of-memory messages quote for each card, since drivers differ by a few MiB. Everything else is NVIDIA's
 * data sheet of the card, without sparsity: memory bandwidth, BF16 tensor rate, interconnect (half of the bidirectional
 * figure).
 */
#include "pool/device_catalog.h"

#include <strings.h>

#define MIB(n)  ((uint64_t)(n) << 20)
#define GIGA(n) ((n)*1e9)
#define TERA(n) ((n)*1e12)

static const device_card cards[] = {
    /* "21.99 GiB"; A10G: 600 GB/s, 70 TFLOPS (A10, a different chip setting: 125); PCIe Gen4 x16, 64 GB/s. */
    {"A10G", "sm_86", MIB(22515), GIGA(600), TERA(70), DEVICE_LINK_PCIE, GIGA(32)},
    /* "39.38 GiB"; A100 40GB SXM: 1,555 GB/s, 312 TFLOPS; NVLink 600 GB/s. */
    {"A100-40GB", "sm_80", MIB(40326), GIGA(1555), TERA(312), DEVICE_LINK_NVLINK, GIGA(300)},
    /* "79.14 GiB"; A100 80GB SXM: 2,039 GB/s, 312 TFLOPS; NVLink 600 GB/s. */
    {"A100-80GB", "sm_80", MIB(81037), GIGA(2039), TERA(312), DEVICE_LINK_NVLINK, GIGA(300)},
    /* "22.03 GiB"; L4: 300 GB/s, 121 TFLOPS (242 with sparsity); PCIe Gen4 x16, 64 GB/s. */
    {"L4", "sm_89", MIB(22563), GIGA(300), TERA(121), DEVICE_LINK_PCIE, GIGA(32)},
    /* "44.31 GiB"; L40S: 864 GB/s, 362.05 TFLOPS; PCIe Gen4 x16, 64 GB/s. */
    {"L40S", "sm_89", MIB(45372), GIGA(864), TERA(362.05), DEVICE_LINK_PCIE, GIGA(32)},
    /* "79.10 GiB"; H100 SXM: 3.35 TB/s, 989 TFLOPS (1,979 with sparsity); NVLink 900 GB/s. */
    {"H100", "sm_90", MIB(81003), GIGA(3350), TERA(989), DEVICE_LINK_NVLINK, GIGA(450)},
    /* "139.80 GiB"; H200 SXM: 4.8 TB/s, 989 TFLOPS; NVLink 900 GB/s. */
    {"H200", "sm_90", MIB(143156), GIGA(4800), TERA(989), DEVICE_LINK_NVLINK, GIGA(450)},
    /* "23.51 GiB"; RTX 4090: 1,008 GB/s, 165.2 TFLOPS (Ada architecture paper, FP32 accumulation); PCIe Gen4 x16. */
    {"RTX-4090", "sm_89", MIB(24080), GIGA(1008), TERA(165.2), DEVICE_LINK_PCIE, GIGA(32)},
};

const device_card *device_card_at(uint32_t index)
{
    return index < sizeof cards / sizeof *cards ? &cards[index] : NULL;
}

const device_card *device_card_find(const char *name)
{
    for (uint32_t i = 0; i < sizeof cards / sizeof *cards; i++)
        if (strcasecmp(cards[i].name, name) == 0)
            return &cards[i];
    return NULL;
}

const char *device_link_name(device_link link)
{
    return link == DEVICE_LINK_NVLINK ? "NVLink" : link == DEVICE_LINK_PCIE ? "PCIe" : "unknown";
}

double device_link_bandwidth(device_link link)
{
    return link == DEVICE_LINK_NVLINK ? GIGA(300) : link == DEVICE_LINK_PCIE ? GIGA(32) : 0;
}
