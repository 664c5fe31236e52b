/* api_error.c: status codes and types as the openai client libraries map them to exception classes. */
#include "api_error.h"

#include "json_writer.h"

static tn_status fill(api_error *error, uint32_t http_status, const char *code, const char *param, const char *format,
                      va_list args)
{
    error->http_status = http_status;
    error->retry_after = 0;
    error->closes = false;
    error->code = code;
    snprintf(error->param, sizeof error->param, "%s", param ? param : "");
    vsnprintf(error->message, sizeof error->message, format, args);
    return TN_E_ARGUMENT;
}

tn_status api_fail(api_error *error, uint32_t http_status, const char *code, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tn_status status = fill(error, http_status, code, param, format, args);
    va_end(args);
    return status;
}

tn_status api_fail_field(api_error *error, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tn_status status = fill(error, 400, NULL, param, format, args);
    va_end(args);
    return status;
}

tn_status api_fail_status(api_error *error, tn_status status, const char *message, uint32_t retry_after)
{
    if (!message || !*message)
        message = tn_status_text(status);
    switch (status) {
    case TN_E_ARGUMENT:
    case TN_E_UNSUPPORTED:
        return api_fail(error, 400, NULL, NULL, "%s", message);
    case TN_E_AGAIN:
        api_fail(error, 429, "rate_limit_exceeded", NULL, "%s", message);
        error->retry_after = retry_after ? retry_after : 1;
        return TN_E_ARGUMENT;
    case TN_E_CANCELLED:
    case TN_E_DEVICE_LOST:
    case TN_E_MEMORY:
        api_fail(error, 503, "engine_unavailable", NULL, "%s", message);
        error->retry_after = retry_after ? retry_after : 1;
        return TN_E_ARGUMENT;
    default:
        return api_fail(error, 500, "internal_error", NULL, "%s", message);
    }
}

static const char *error_type(uint32_t http_status)
{
    switch (http_status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return http_status < 500 ? "invalid_request_error" : "server_error";
    }
}

void api_error_write(const api_error *error, byte_buffer *out)
{
    byte_buffer_text(out, "{\"error\":{\"message\":");
    json_write_text(out, error->message);
    byte_buffer_text(out, ",\"type\":");
    json_write_text(out, error_type(error->http_status));
    byte_buffer_text(out, ",\"param\":");
    json_write_text(out, error->param[0] ? error->param : NULL);
    byte_buffer_text(out, ",\"code\":");
    json_write_text(out, error->code);
    byte_buffer_text(out, "}}");
}
