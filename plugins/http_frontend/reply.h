/* reply.h: answers handed to libmicrohttpd. Each returns MHD_NO, which closes the connection, when memory runs out. */
#ifndef HTTP_REPLY_H
#define HTTP_REPLY_H

#include "api_error.h"
#include "front.h"
#include "route.h"

#define REPLY_JSON    "application/json"
#define REPLY_METRICS "text/plain; version=0.0.4; charset=utf-8"

/* body is moved. */
enum MHD_Result reply_bytes(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                            const char *type, byte_buffer *body);
typedef struct reply_header {
    const char *name, *value;
} reply_header;

/* bytes outlive the answer. headers: more of them, the last without a name. */
enum MHD_Result reply_constant(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                               const char *type, const void *bytes, size_t n_bytes, const reply_header *headers);
/* route: for the Allow header of 405; NULL is fine. */
enum MHD_Result reply_error(const tn_front *front, struct MHD_Connection *connection, const http_route *route,
                            const api_error *error);
/* A body of unknown length that reader supplies. */
enum MHD_Result reply_reader(const tn_front *front, struct MHD_Connection *connection, uint32_t http_status,
                             const char *type, MHD_ContentReaderCallback reader, void *cls);
/* Server-sent events that reader supplies. */
enum MHD_Result reply_stream(const tn_front *front, struct MHD_Connection *connection, MHD_ContentReaderCallback reader,
                             void *cls);

#endif
