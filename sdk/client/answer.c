/* answer.c: see answer.h. */
#include "client/answer.h"

#include "base/utf8.h"

#include <string.h>

/* A server's words are cut at a byte, and may quote what is no text: who keeps or shows them wants UTF-8. */
static void fail(client_answer *answer, answer_kind kind, const char *code, const char *message)
{
    answer->kind = kind;
    snprintf(answer->code, sizeof answer->code, "%s", code);
    snprintf(answer->message, sizeof answer->message, "%s", message);
    utf8_repair(answer->code);
    utf8_repair(answer->message);
}

void client_answer_fail(client_answer *ret_answer, answer_kind kind, const char *code, const char *message)
{
    *ret_answer = (client_answer){.prompt_tokens = -1, .completion_tokens = -1};
    fail(ret_answer, kind, code, message);
}

void client_answer_reject(const client_answer *answer, client_answer *ret_fault)
{
    if (answer->finish_reason && strcmp(answer->finish_reason, "length") == 0)
        client_answer_fail(ret_fault, ANSWER_ROW, "incomplete",
                           "the answer was cut before it was complete: raise max_tokens, or bound what may be said");
    else
        client_answer_fail(ret_fault, ANSWER_ROW, "bad_answer", "the server's answer is not what was asked for");
}

const char *client_answer_status(const client_answer *answer)
{
    static const char *const names[] = {
        [ANSWER_OK] = "ok", [ANSWER_NULL] = "null", [ANSWER_ROW] = "error", [ANSWER_SYSTEMIC] = "error"};

    return names[answer->kind];
}

void client_answer_finish(client_answer *answer)
{
    json_decref(answer->root);
    answer->root = NULL;
    answer->value = answer->finish_reason = NULL;
}

void client_answer_name_missing(client_answer *answer, const char *what)
{
    char message[sizeof answer->message];

    if (strcmp(answer->code, "unknown_url") != 0)
        return;
    snprintf(message, sizeof message, "this server makes no %s: %.500s", what, answer->message);
    fail(answer, ANSWER_SYSTEMIC, "unsupported", message);
}

/* As deep as jansson reads, 2048 levels. Its keys hold no zero bytes. */
static bool holds_zero(json_t *value)
{
    const char *key;
    json_t *part;
    size_t i;

    if (json_is_string(value))
        return strlen(json_string_value(value)) != json_string_length(value);
    json_array_foreach(value, i, part)
    {
        if (holds_zero(part))
            return true;
    }
    json_object_foreach(value, key, part)
    {
        if (holds_zero(part))
            return true;
    }
    return false;
}

void client_answer_forbid_zero(client_answer *answer, bool anywhere)
{
    bool found =
        anywhere ? holds_zero(answer->root) : answer->value && memchr(answer->value, '\0', answer->value_bytes) != NULL;

    if (!found)
        return;
    client_answer_finish(answer);
    fail(answer, ANSWER_ROW, "bad_answer", "the answer holds a zero byte, which text cannot");
}

static int64_t read_count(const json_t *usage, const char *key)
{
    const json_t *count = json_object_get(usage, key);
    return json_is_integer(count) && json_integer_value(count) >= 0 ? json_integer_value(count) : -1;
}

static void read_choice(const json_t *root, bool wants_text, client_answer *answer)
{
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const json_t *message = json_object_get(choice, "message");
    const json_t *text = message ? json_object_get(message, "content") : json_object_get(choice, "text");
    const json_t *usage = json_object_get(root, "usage");

    answer->value = json_string_value(text);
    answer->value_bytes = json_string_length(text);
    answer->finish_reason = json_string_value(json_object_get(choice, "finish_reason"));
    answer->prompt_tokens = read_count(usage, "prompt_tokens");
    answer->completion_tokens = read_count(usage, "completion_tokens");
    if (wants_text && !answer->value)
        fail(answer, ANSWER_ROW, "bad_answer", "the server's answer holds no text");
}

/* Whether a 400 blames something that all rows share: a field of the options rather than this row's prompt or fields.
 */
static bool blames_options(const char *param, const char *code, const json_t *row_fields)
{
    static const char *const of_row[] = {"prompt", "messages", "input"};

    if (!param || (code && strcmp(code, "context_length_exceeded") == 0))
        return false;
    for (size_t i = 0; i < sizeof of_row / sizeof *of_row; i++)
        if (strcmp(param, of_row[i]) == 0)
            return false;
    return !json_object_get(row_fields, param);
}

static answer_kind kind_of_refusal(uint32_t http_status, const char *param, const char *code, const json_t *row_fields)
{
    switch (http_status) {
    case 401:
    case 403:
    case 404:
    case 405:
    case 503: /* after all retries: the service's fault, and no row's */
        return ANSWER_SYSTEMIC;
    case 400:
        return blames_options(param, code, row_fields) ? ANSWER_SYSTEMIC : ANSWER_ROW;
    default:
        return ANSWER_ROW;
    }
}

static void read_refusal(uint32_t http_status, const json_t *root, const json_t *row_fields, client_answer *answer)
{
    const json_t *error = json_object_get(root, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *param = json_string_value(json_object_get(error, "param"));
    char plain_code[32], plain_message[64];

    answer->http_status = http_status;
    snprintf(plain_code, sizeof plain_code, "http_%u", http_status);
    snprintf(plain_message, sizeof plain_message, "the server answered with HTTP status %u", http_status);
    fail(answer, kind_of_refusal(http_status, param, code, row_fields), code ? code : plain_code,
         message ? message : plain_message);
}

static void read_http(const client_reply *reply, bool wants_text, const json_t *row_fields, client_answer *answer)
{
    json_error_t fault;
    json_t *root = json_loadb(reply->bytes ? reply->bytes : "", reply->count, JSON_ALLOW_NUL, &fault);
    char message[200];

    if (reply->http_status != 200 && reply->http_status != 201) {
        read_refusal(reply->http_status, root, row_fields, answer);
    } else if (!json_is_object(root)) {
        snprintf(message, sizeof message, "the server's answer is not a JSON object%s%.120s", root ? "" : ": ",
                 root ? "" : fault.text);
        fail(answer, ANSWER_ROW, "bad_answer", message);
    } else {
        answer->root = json_incref(root);
        read_choice(root, wants_text, answer);
    }
    json_decref(root);
}

void client_answer_read(client_reply *reply, bool wants_text, const json_t *row_fields, client_answer *ret_answer)
{
    client_answer answer = {
        .attempts = reply->attempts, .latency_ms = reply->latency_ms, .prompt_tokens = -1, .completion_tokens = -1};

    switch (reply->kind) {
    case REPLY_HTTP:
        read_http(reply, wants_text, row_fields, &answer);
        break;
    case REPLY_SKIPPED:
        answer.kind = ANSWER_NULL;
        break;
    case REPLY_UNREACHABLE:
        fail(&answer, ANSWER_SYSTEMIC, "unreachable", reply->fault);
        break;
    case REPLY_TIMEOUT:
        fail(&answer, ANSWER_ROW, "timeout", reply->fault);
        break;
    case REPLY_BROKEN:
        fail(&answer, ANSWER_ROW, "connection_lost", reply->fault);
        break;
    case REPLY_TOO_LARGE:
        fail(&answer, ANSWER_ROW, "answer_too_large", reply->fault);
        break;
    case REPLY_MEMORY:
        fail(&answer, ANSWER_ROW, "out_of_memory", reply->fault);
        break;
    }
    free(reply->bytes);
    reply->bytes = NULL;
    if (answer.kind != ANSWER_OK)
        client_answer_finish(&answer);
    *ret_answer = answer;
}
