/* reply.c: bodies with their headers. While draining, every answer closes its connection. */
#include "reply.h"

enum { STREAM_BLOCK_BYTES = 16 << 10 };

static enum MHD_Result send_response(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                                     const char *type, struct MHD_Response *response)
{
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (atomic_load(&front->draining))
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(connection, http_status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *bytes_response(byte_buffer *body)
{
    struct MHD_Response *response = NULL;
    if (!body->failed && body->bytes)
        response = MHD_create_response_from_buffer(body->count, body->bytes, MHD_RESPMEM_MUST_FREE);
    if (response)
        *body = (byte_buffer){0};
    byte_buffer_finish(body);
    return response;
}

enum MHD_Result reply_bytes(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                            const char *type, byte_buffer *body)
{
    struct MHD_Response *response = bytes_response(body);
    return response ? send_response(front, connection, http_status, type, response) : MHD_NO;
}

enum MHD_Result reply_constant(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                               const char *type, const void *bytes, size_t n_bytes, const reply_header *headers)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(n_bytes, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    for (; headers->name; headers++)
        MHD_add_response_header(response, headers->name, headers->value);
    return send_response(front, connection, http_status, type, response);
}

enum MHD_Result reply_error(const tn_front *front, struct MHD_Connection *connection, const http_route *route,
                            const api_error *error)
{
    byte_buffer body = {0};
    char seconds[16];

    api_error_write(error, &body);
    struct MHD_Response *response = bytes_response(&body);
    if (!response)
        return MHD_NO;
    if (error->retry_after) {
        snprintf(seconds, sizeof seconds, "%u", error->retry_after);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (error->closes && !atomic_load(&front->draining)) /* which says so already */
        MHD_add_response_header(response, "Connection", "close");
    if (error->http_status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (error->http_status == 405 && route)
        MHD_add_response_header(response, "Allow", route->post ? "POST" : "GET, HEAD");
    return send_response(front, connection, error->http_status, REPLY_JSON, response);
}

enum MHD_Result reply_reader(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                             const char *type, MHD_ContentReaderCallback reader, void *cls)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, reader, cls, NULL);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx would hold bytes back */
    return send_response(front, connection, http_status, type, response);
}

enum MHD_Result reply_stream(const tn_front *front, struct MHD_Connection *connection, MHD_ContentReaderCallback reader,
                             void *cls)
{
    return reply_reader(front, connection, 200, "text/event-stream; charset=utf-8", reader, cls);
}
