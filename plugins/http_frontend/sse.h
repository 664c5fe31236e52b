/* sse.h: server-sent events of a streamed call, appended to call->out. Under front->lock. */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include "call.h"

/* `data: ` and the chunk's head; the caller writes one choice. */
void sse_chunk_begin(http_call *call);
void sse_chunk_end(http_call *call);
/* The chunk without choices that stream_options.include_usage asks for. */
void sse_usage(http_call *call);
void sse_error(http_call *call, const api_error *error);
void sse_done(http_call *call);

#endif
