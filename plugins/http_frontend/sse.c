/* sse.c: framing only; WHATWG HTML, "Server-sent events". JSON text holds no line breaks, so one data line is enough.
 */
#include "sse.h"

void sse_chunk_begin(http_call *call)
{
    byte_buffer_text(&call->out, "data: ");
    byte_buffer_join(&call->out, &call->head);
}

void sse_chunk_end(http_call *call)
{
    byte_buffer_text(&call->out, "]");
    if (call->continuous_usage) {
        byte_buffer_text(&call->out, ",\"usage\":");
        call_write_usage(call, &call->out);
    } else if (call->include_usage) {
        byte_buffer_text(&call->out, ",\"usage\":null");
    }
    byte_buffer_text(&call->out, "}\n\n");
}

void sse_usage(http_call *call)
{
    sse_chunk_begin(call);
    byte_buffer_text(&call->out, "],\"usage\":");
    call_write_usage(call, &call->out);
    byte_buffer_text(&call->out, "}\n\n");
}

void sse_error(http_call *call, const api_error *error)
{
    byte_buffer_text(&call->out, "data: ");
    api_error_write(error, &call->out);
    byte_buffer_text(&call->out, "\n\n");
}

void sse_done(http_call *call)
{
    byte_buffer_text(&call->out, "data: [DONE]\n\n");
}
