/* answer.c: see answer.h. */
#include "admin/answer.h"

#include "base/utf8.h"

#include <errno.h>

/* As OpenAI's API calls them. */
static const char *type_of(uint32_t code)
{
    if (code == 429)
        return "rate_limit_error";
    return code >= 500 ? "server_error" : "invalid_request_error";
}

/* message: UTF-8; param, which may be a parameter's name as it came, is left out where it is not. */
static json_t *error_json(uint32_t code, const char *param, const char *message)
{
    json_t *field = param ? json_string(param) : NULL;

    return json_pack("{s:{s:s, s:s, s:o}}", "error", "message", message, "type", type_of(code), "param",
                     field ? field : json_null());
}

answer answer_json(uint32_t code, json_t *json)
{
    if (json)
        return (answer){code, json};
    return (answer){500, error_json(500, NULL, "out of memory for an answer")};
}

answer answer_nothing(void)
{
    return (answer){204, NULL};
}

answer answer_error(uint32_t code, const char *param, const char *format, ...)
{
    char message[640];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    utf8_repair(message); /* it may quote anything, and end in the middle of a character */
    return (answer){code, error_json(code, param, message)};
}

static uint32_t code_of(tn_status status, const tn_error *err)
{
    switch (status) {
    case TN_E_ARGUMENT:
        return err->native_code == EEXIST ? 409 : 400;
    case TN_E_NOT_FOUND:
        return 404;
    case TN_E_AGAIN:
        return 409;
    case TN_E_CORRUPT:
    case TN_E_UNSUPPORTED:
    case TN_E_MEMORY:
        return 422;
    case TN_E_CANCELLED:
        return 503;
    case TN_E_IO:
        return err->native_code == ENOSPC || err->native_code == EDQUOT ? 507 : 500;
    default:
        return 500;
    }
}

answer answer_failure(tn_status status, const char *param, const tn_error *err)
{
    return answer_error(code_of(status, err), param, "%s", *err->msg ? err->msg : tn_status_text(status));
}

void answer_finish(answer *answer)
{
    json_decref(answer->json);
    answer->json = NULL;
}
