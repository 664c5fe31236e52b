/* api_error.h: an answer that says no, in OpenAI's shape: {"error": {"message", "type", "param", "code"}}. */
#ifndef HTTP_API_ERROR_H
#define HTTP_API_ERROR_H

#include "byte_buffer.h"
#include "tenon/error.h"

typedef struct api_error {
    uint32_t http_status;
    uint32_t retry_after; /* seconds, sent as a header when not 0 */
    const char *code;     /* static; NULL gives null */
    bool closes;          /* the connection, with the answer */
    char param[64];       /* the field at fault; "" gives null */
    char message[600];
} api_error;

/* Fills error and returns TN_E_ARGUMENT, so that `return api_fail(...)` is one line. param: NULL if no field is to
 * blame; code: static text or NULL. */
tn_status api_fail(api_error *error, uint32_t http_status, const char *code, const char *param, const char *format, ...)
    TN_PRINTF(5, 6);
/* 400 about one field of the body. */
tn_status api_fail_field(api_error *error, const char *param, const char *format, ...) TN_PRINTF(3, 4);
/* The answer to a status of the engine: 400, 429 (with retry_after seconds), 503 or 500; message: the engine's words.
 */
tn_status api_fail_status(api_error *error, tn_status status, const char *message, uint32_t retry_after);
void api_error_write(const api_error *error, byte_buffer *out);

#endif
