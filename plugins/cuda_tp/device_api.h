/* plugins/cuda_tp/device_api.h: what the host half asks of a device runtime, beside kernel launches. The CUDA runtime
 * (device_cuda.c) is one implementation; the tests bring another over host memory, on which the kernels run as C++.
 *
 * Streams are in order. Errors carry the runtime's code in native_code.
 */
#ifndef CUDA_TP_DEVICE_API_H
#define CUDA_TP_DEVICE_API_H

#include "cublaslt_library.h"
#include "kernels/launch.h"

#include <stdbool.h>

typedef struct collective collective;
typedef struct device_event device_event;
typedef struct device_graph device_graph;

/* Enqueues work on the stream that it was begun for. */
typedef tn_status (*device_record)(const void *context, tn_error *err);

/* Which ranks there are and which of them this process has. */
typedef struct collective_place {
    uint32_t world, first, count; /* ranks; this process: first to first + count - 1 */
    const uint32_t *ordinal;      /* [count] */
    const uint8_t *id;            /* [COLLECTIVE_ID_BYTES] the same in every process; NULL: there is one */
} collective_place;
enum { COLLECTIVE_ID_BYTES = 128 };

typedef struct device_api {
    /* TN_E_NOT_FOUND, with the reason and what to do, where there is no driver or no device. [probe] */
    tn_status (*count)(uint32_t *ret_count, tn_error *err);
    tn_status (*describe)(uint32_t ordinal, tn_devinfo *info, tn_error *err); /* [probe] */
    /* Makes calls of this thread, launches included, go to the device. [any] */
    tn_status (*use)(uint32_t ordinal, tn_error *err);
    /* How two devices are connected, "NVLink" or "PCIe"; "" for the same one. */
    const char *(*link)(uint32_t ordinal, uint32_t peer);
    /* Lets kernels on device `ordinal`, which is in use, read and write what alloc gave on `peer`; *ret_reached: false
     * where they cannot. [ctl] */
    tn_status (*peer_enable)(uint32_t ordinal, uint32_t peer, bool *ret_reached, tn_error *err);
    /* What multiplies dense matrices beside our kernels; TN_E_NOT_FOUND: nothing. [ctl] */
    tn_status (*cublaslt)(const cublaslt_library **ret, tn_error *err);

    tn_status (*alloc)(uint64_t bytes, void **ret, tn_error *err); /* on the device in use; 256-byte aligned */
    void (*release)(void *memory);                                 /* of the device in use; NULL is fine */
    tn_status (*alloc_host)(uint64_t bytes, void **ret,
                            tn_error *err); /* that copies and kernels read and write without a detour */
    void (*release_host)(void *memory);

    tn_status (*stream_create)(cuda_stream *ret, tn_error *err);
    void (*stream_destroy)(cuda_stream stream);
    tn_status (*stream_wait)(cuda_stream stream, tn_error *err); /* until all that was enqueued is done */
    tn_status (*copy)(void *to, const void *from, uint64_t bytes, cuda_stream stream, tn_error *err);
    tn_status (*clear)(void *memory, uint64_t bytes, cuda_stream stream, tn_error *err); /* to zero bytes */

    tn_status (*event_create)(device_event **ret, tn_error *err);
    void (*event_destroy)(device_event *event); /* NULL is fine */
    tn_status (*event_record)(device_event *event, cuda_stream stream, tn_error *err);
    /* Whether what was enqueued before the event is done, without waiting; fails where the device has. The device in
     * use must be the event's. */
    tn_status (*event_query)(device_event *event, bool *ret_done, tn_error *err);

    /* What `record` enqueues on the stream becomes a graph; nothing of it runs. record reads `bytes` of context and
     * what lives as long as the graph. The stream has nothing to do. Moved to the caller, on the device in use. */
    tn_status (*graph_capture)(cuda_stream stream, device_record record, const void *context, uint64_t bytes,
                               device_graph **ret, tn_error *err);
    tn_status (*graph_launch)(device_graph *graph, cuda_stream stream, tn_error *err); /* enqueued; allocates nothing */
    void (*graph_destroy)(device_graph *graph);                                        /* NULL is fine */

    /* `what` was refused by a launcher with `status`: says so, with the runtime's reason if it was the runtime. */
    tn_status (*launch_failure)(tn_status status, const char *what, tn_error *err);

    /* What names the ranks of several processes: made by one of them and given to all, for one collective. [ctl] */
    tn_status (*collective_id)(uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err);
    /* What `world` > 1 ranks do together, see collective.h. Moved to the caller. [ctl] */
    tn_status (*collective_create)(const collective_place *place, collective **ret, tn_error *err);
} device_api;

/* The runtime that this library was built for. */
const device_api *device_api_get(void);

#endif
