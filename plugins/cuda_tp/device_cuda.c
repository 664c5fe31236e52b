/* device_cuda.c: device_api.h over the CUDA runtime, which is linked statically and finds the driver itself: without
 * one every call says so, and the plugin still loads and plans. Nothing that is asked about a device makes a context on
 * it; `use` does.
 */
#include "collective.h"
#include "device_probe.h"
#include "host_log.h"
#include "nccl_collective.h"

#include <cuda_runtime.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct device_event {
    cudaEvent_t event;
};

struct device_graph {
    cudaGraphExec_t graph;
};

static tn_status fail(cudaError_t code, const char *what, tn_error *err)
{
    tn_status status = code == cudaErrorMemoryAllocation ? TN_E_MEMORY : TN_E_DEVICE_LOST;

    tn_fail(err, status, "%s: %s", what, cudaGetErrorString(code));
    if (err)
        err->native_code = (int32_t)code;
    cudaGetLastError(); /* so that the next call does not report it again */
    return status;
}

static tn_status check(cudaError_t code, const char *what, tn_error *err)
{
    return code == cudaSuccess ? TN_OK : fail(code, what, err);
}

/* Of calls whose failure nobody can do anything about: or the next launch would report it as its own. */
static void ignore(cudaError_t code)
{
    if (code != cudaSuccess)
        cudaGetLastError();
}

/* ---- devices ---- */

static tn_status cuda_count(uint32_t *ret_count, tn_error *err)
{
    int count = 0, driver = 0;
    cudaError_t code = cudaGetDeviceCount(&count);

    if (code == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0)
        return tn_fail(err, TN_E_NOT_FOUND,
                       "the NVIDIA driver is for CUDA %d.%d, this plugin needs %d.%d or newer: update it",
                       driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    if (code == cudaErrorInsufficientDriver || (code == cudaSuccess && count == 0) || code == cudaErrorNoDevice)
        return tn_fail(
            err, TN_E_NOT_FOUND,
            "there is no NVIDIA %s here; to plan without one: tenon plan MODEL --pool NAME (tenon pool list)",
            code == cudaErrorInsufficientDriver ? "driver (libcuda.so.1)" : "GPU");
    if (code != cudaSuccess)
        return fail(code, "the NVIDIA driver", err);
    *ret_count = (uint32_t)count;
    return TN_OK;
}

static struct {
    pthread_once_t once;
    device_probe probe;
    tn_status status;
    tn_error err;
} probed = {.once = PTHREAD_ONCE_INIT, .err = TN_ERROR_INIT};

static void open_probe(void)
{
    probed.status = device_probe_open(&probed.probe, "libcuda.so.1", "libnvidia-ml.so.1", &probed.err);
}

static tn_status cuda_describe(uint32_t ordinal, tn_devinfo *info, tn_error *err)
{
    pthread_once(&probed.once, open_probe);
    if (probed.status != TN_OK)
        return tn_fail(err, probed.status, "%s", probed.err.msg);
    return device_probe_describe(&probed.probe, ordinal, info, err);
}

static tn_status cuda_use(uint32_t ordinal, tn_error *err)
{
    return check(cudaSetDevice((int)ordinal), "the device", err);
}

static const char *cuda_link(uint32_t ordinal, uint32_t peer)
{
    pthread_once(&probed.once, open_probe);
    return probed.status == TN_OK ? device_probe_link(&probed.probe, ordinal, peer) : "";
}

static tn_status cuda_peer_enable(uint32_t ordinal, uint32_t peer, bool *ret_reached, tn_error *err)
{
    int can = 0;
    tn_status status = check(cudaDeviceCanAccessPeer(&can, (int)ordinal, (int)peer), "access to a peer", err);

    *ret_reached = false;
    if (status != TN_OK || !can)
        return status;
    cudaError_t code = cudaDeviceEnablePeerAccess((int)peer, 0);
    *ret_reached = code == cudaSuccess || code == cudaErrorPeerAccessAlreadyEnabled;
    if (code != cudaErrorPeerAccessAlreadyEnabled)
        return check(code, "access to a peer", err);
    cudaGetLastError();
    return TN_OK;
}

/* ---- memory ---- */

static tn_status cuda_alloc(uint64_t bytes, void **ret, tn_error *err)
{
    char what[64];
    snprintf(what, sizeof what, "%.2f GiB of device memory", (double)bytes / (double)(1ull << 30));
    return check(cudaMalloc(ret, bytes), what, err);
}

static void cuda_release(void *memory)
{
    ignore(cudaFree(memory));
}

static tn_status cuda_alloc_host(uint64_t bytes, void **ret, tn_error *err)
{
    tn_status status =
        check(cudaHostAlloc(ret, bytes, cudaHostAllocPortable | cudaHostAllocMapped), "pinned host memory", err);
    if (status == TN_OK)
        memset(*ret, 0, bytes);
    return status;
}

static void cuda_release_host(void *memory)
{
    if (memory)
        ignore(cudaFreeHost(memory));
}

/* ---- streams and events ---- */

static tn_status cuda_stream_create(cuda_stream *ret, tn_error *err)
{
    return check(cudaStreamCreateWithFlags(ret, cudaStreamNonBlocking), "a stream", err);
}

static void cuda_stream_destroy(cuda_stream stream)
{
    ignore(cudaStreamDestroy(stream));
}

static tn_status cuda_stream_wait(cuda_stream stream, tn_error *err)
{
    return check(cudaStreamSynchronize(stream), "the device", err);
}

static tn_status cuda_copy(void *to, const void *from, uint64_t bytes, cuda_stream stream, tn_error *err)
{
    return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "a copy", err);
}

static tn_status cuda_clear(void *memory, uint64_t bytes, cuda_stream stream, tn_error *err)
{
    return check(cudaMemsetAsync(memory, 0, bytes, stream), "clearing memory", err);
}

static tn_status cuda_event_create(device_event **ret, tn_error *err)
{
    device_event *event = calloc(1, sizeof *event);
    if (!event)
        return tn_fail(err, TN_E_MEMORY, "an event");
    tn_status status = check(cudaEventCreateWithFlags(&event->event, cudaEventDisableTiming), "an event", err);
    if (status != TN_OK) {
        free(event);
        return status;
    }
    *ret = event;
    return TN_OK;
}

static void cuda_event_destroy(device_event *event)
{
    if (event)
        ignore(cudaEventDestroy(event->event));
    free(event);
}

static tn_status cuda_event_record(device_event *event, cuda_stream stream, tn_error *err)
{
    return check(cudaEventRecord(event->event, stream), "an event", err);
}

static tn_status cuda_event_query(device_event *event, bool *ret_done, tn_error *err)
{
    cudaError_t code = cudaEventQuery(event->event);

    *ret_done = code == cudaSuccess;
    if (code != cudaErrorNotReady)
        return check(code, "the device", err);
    cudaGetLastError(); /* no error, but kept like one */
    return TN_OK;
}

/* ---- launches and graphs ---- */

static tn_status cuda_launch_failure(tn_status status, const char *what, tn_error *err)
{
    cudaError_t code = cudaPeekAtLastError();

    if (status == TN_E_DEVICE_LOST && code != cudaSuccess)
        return fail(code, what, err);
    return tn_fail(err, status, "%s was refused: %s", what, tn_status_text(status));
}

/* Only this thread is held to what a capture allows. A capture that was begun is ended whatever became of it, or the
 * stream could not be used again. */
static tn_status record_graph(cuda_stream stream, device_record record, const void *context, cudaGraph_t *ret,
                              tn_error *err)
{
    tn_status status = check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "a capture", err);
    if (status != TN_OK)
        return status;
    status = record(context, err);
    cudaError_t code = cudaStreamEndCapture(stream, ret);
    if (status == TN_OK)
        return check(code, "a capture", err);
    ignore(code);
    return status;
}

static tn_status cuda_graph_capture(cuda_stream stream, device_record record, const void *context, uint64_t bytes,
                                    device_graph **ret, tn_error *err)
{
    device_graph *graph = calloc(1, sizeof *graph);
    cudaGraph_t recorded = NULL;

    (void)bytes;
    if (!graph)
        return tn_fail(err, TN_E_MEMORY, "a graph");
    tn_status status = record_graph(stream, record, context, &recorded, err);
    if (status == TN_OK)
        status = check(cudaGraphInstantiate(&graph->graph, recorded, 0), "a graph", err);
    if (recorded)
        ignore(cudaGraphDestroy(recorded));
    if (status != TN_OK) {
        free(graph);
        return status;
    }
    *ret = graph;
    return TN_OK;
}

static tn_status cuda_graph_launch(device_graph *graph, cuda_stream stream, tn_error *err)
{
    return check(cudaGraphLaunch(graph->graph, stream), "a graph", err);
}

static void cuda_graph_destroy(device_graph *graph)
{
    if (graph)
        ignore(cudaGraphExecDestroy(graph->graph));
    free(graph);
}

/* ---- ranks ---- */

static bool are_distinct(uint32_t count, const uint32_t *ordinal)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (ordinal[i] == ordinal[j])
                return false;
    return true;
}

/* Several ranks on one device are for tests; NCCL does not take them. */
static tn_status cuda_collective_create(const collective_place *place, collective **ret, tn_error *err)
{
    if (are_distinct(place->count, place->ordinal))
        return nccl_collective_create(place, ret, err);
    if (place->id)
        return tn_fail(err, TN_E_UNSUPPORTED, "ranks of several processes each need a device of their own");
    host_log(TN_LOG_WARNING, "several ranks share a device: they meet on the host");
    return local_collective_create(device_api_get(), place->world, ret, err);
}

const device_api *device_api_get(void)
{
    static const device_api api = {
        .count = cuda_count,
        .describe = cuda_describe,
        .use = cuda_use,
        .link = cuda_link,
        .peer_enable = cuda_peer_enable,
        .cublaslt = cublaslt_library_get,
        .alloc = cuda_alloc,
        .release = cuda_release,
        .alloc_host = cuda_alloc_host,
        .release_host = cuda_release_host,
        .stream_create = cuda_stream_create,
        .stream_destroy = cuda_stream_destroy,
        .stream_wait = cuda_stream_wait,
        .copy = cuda_copy,
        .clear = cuda_clear,
        .event_create = cuda_event_create,
        .event_destroy = cuda_event_destroy,
        .event_record = cuda_event_record,
        .event_query = cuda_event_query,
        .collective_id = nccl_collective_id,
        .graph_capture = cuda_graph_capture,
        .graph_launch = cuda_graph_launch,
        .graph_destroy = cuda_graph_destroy,
        .launch_failure = cuda_launch_failure,
        .collective_create = cuda_collective_create,
    };
    return &api;
}
