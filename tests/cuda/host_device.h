/* tests/cuda/host_device.h: a device runtime (device_api.h) over host memory, that counts, and fails and
 * holds on request. Work is done as it is enqueued; what a device has yet to do, or has failed at, shows in events and
 * in waits for streams. It aborts if memory or an event of one device is touched while another is in use. */
#ifndef TESTS_HOST_DEVICE_H
#define TESTS_HOST_DEVICE_H

#include "device_api.h"

enum { HOST_DEVICES = 8 };

/* Bytes that device `ordinal` has given and not got back, and how many allocations they are. */
uint64_t host_device_bytes(uint32_t ordinal, uint32_t *ret_allocations);
/* Device `ordinal` has no memory to give. */
void host_device_fill(uint32_t ordinal, int full);
/* The `after`-th copy from now on that runs on device `ordinal` fails, and all later ones; 0: none does. */
void host_device_fail_copy(uint32_t ordinal, uint32_t after);
/* Copies on device `ordinal` wait until they are let go. */
void host_device_hold(uint32_t ordinal, int hold);
/* Device `ordinal` seems not to get done with what it is given, until it is let go, or what ranks do together aborted.
 */
void host_device_stall(uint32_t ordinal, int stall);
/* Device `ordinal` keeps no graph from now on. */
void host_device_refuse_graphs(uint32_t ordinal, int refuse);

/* Groups that are created from now on meet in a way that no graph holds. */
void host_device_meet_on_host(int on);

/* Of device `ordinal`, from the start of the program: graphs that are kept, and launches of such; copies; allocations,
 * those of host memory by threads that use the device included. */
typedef struct host_device_counts {
    uint32_t graphs, graph_launches, copies, allocations;
} host_device_counts;
host_device_counts host_device_counted(uint32_t ordinal);

/* What device `ordinal` is given fails there, after it was enqueued. */
void host_device_fail_work(uint32_t ordinal, int fail);
/* Devices reach each other's memory from now on, or do not. */
void host_device_connect(int connected);
/* From now on ranks meet in NCCL and cuBLASLt multiplies, or what the settings say they are. */
void host_device_use_libraries(void);

#endif
