/* scalars.c: see scalars.h.
 *
 * Every function is: arguments to a request, the request to an answer (or a kept one), the answer to a text. A row that
 * fails is NULL, with a line in SQLite's log and in llm_last_error(); what no row can survive raises.
 */
#include "scalars.h"

#include "client/answer_text.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

enum { JSON_SUBTYPE = 'J' };

typedef enum value_kind { VALUE_TEXT, VALUE_JSON, VALUE_INTEGER, VALUE_BOOL } value_kind;

typedef struct scalar_kind {
    const char *name;
    int arguments; /* with options there is one more */
    bool has_options, wants_text, tells_faults;
    value_kind value;
    answer_writer *write; /* NULL: llm_filter's own */
} scalar_kind;

typedef struct scalar_call {
    const scalar_kind *kind;
    sqlite3_context *context;
    sql_connection *connection;
    const char *service;
    run_options options;
    client_request request;
} scalar_call;

typedef enum scalar_index { COMPLETE, CHAT, TRY, JSON, FILTER, EMBED, TOKENS, SCALAR_COUNT } scalar_index;

static const scalar_kind kinds[SCALAR_COUNT] = {
    [COMPLETE] = {"llm_complete", 2, true, true, false, VALUE_TEXT, answer_text_value},
    [CHAT] = {"llm_chat", 2, true, false, false, VALUE_JSON, answer_text_object},
    [TRY] = {"llm_try", 2, true, true, true, VALUE_JSON, answer_text_try},
    [JSON] = {"llm_json", 3, true, true, false, VALUE_JSON, answer_text_json},
    [FILTER] = {"llm_filter", 2, true, true, false, VALUE_BOOL, NULL},
    [EMBED] = {"llm_embed", 2, false, false, false, VALUE_JSON, answer_text_embedding},
    [TOKENS] = {"llm_tokens", 2, false, false, false, VALUE_INTEGER, answer_text_count},
};

static void raise(const scalar_call *call, const char *message)
{
    char *text = sql_told(call->kind->name, message);

    sqlite3_result_error(call->context, text ? text : message, -1);
    sqlite3_free(text);
}

static void raise_status(const scalar_call *call, tn_status status, const tn_error *err)
{
    if (status == TN_E_CANCELLED)
        sqlite3_result_error_code(call->context, SQLITE_INTERRUPT);
    else if (status == TN_E_MEMORY)
        sqlite3_result_error_nomem(call->context);
    else
        raise(call, err->msg);
}

static void set_value(const scalar_call *call, const char *text, size_t bytes)
{
    switch (call->kind->value) {
    case VALUE_INTEGER:
    case VALUE_BOOL:
        sqlite3_result_int64(call->context, strtoll(text, NULL, 10));
        break;
    default:
        sqlite3_result_text64(call->context, text, bytes, SQLITE_TRANSIENT, SQLITE_UTF8);
        if (call->kind->value == VALUE_JSON)
            sqlite3_result_subtype(call->context, JSON_SUBTYPE);
    }
}

/* The row's value when its request has failed. */
static void set_fault(const scalar_call *call, const client_answer *answer)
{
    call->connection->last_fault = *answer;
    if (call->kind->tells_faults) {
        char *text = answer_text_try(answer);
        if (text)
            set_value(call, text, strlen(text));
        else
            sqlite3_result_error_nomem(call->context);
        free(text);
        return;
    }
    if (call->options.on_error == ON_ERROR_FAIL) {
        raise(call, answer->message);
        return;
    }
    sqlite3_log(SQLITE_WARNING, "%s: a row is NULL: %s (%s)", call->kind->name, answer->message, answer->code);
    sqlite3_result_null(call->context);
}

static char *write_value(const scalar_call *call, const client_answer *answer)
{
    bool yes;

    if (call->kind->write)
        return call->kind->write(answer);
    if (!yes_no_read(&call->connection->filter, answer, &yes))
        return NULL;
    return strdup(yes ? "1" : "0");
}

static void set_answer(const scalar_call *call, const client_answer *answer, bool keep, const char *body)
{
    char *text = write_value(call, answer);

    if (!text) {
        client_answer fault;
        client_answer_reject(answer, &fault);
        set_fault(call, &fault);
        return;
    }
    size_t bytes = call->kind->write == answer_text_value ? answer->value_bytes : strlen(text);
    set_value(call, text, bytes);
    if (keep)
        answer_cache_put(call->connection->cache, call->request.path, body, text, bytes);
    free(text);
}

/* Asks which models there are when that was a while ago, and forgets what belongs to others. */
static tn_status renew_cache(sql_connection *connection, tn_error *err)
{
    client_request request;
    client_answer answer;

    if (!answer_cache_is_old(connection->cache))
        return TN_OK;
    tn_status status = question_models(&request, err);
    if (status == TN_OK)
        status = sql_connection_call(connection, request, NULL, false, &answer, err);
    if (status != TN_OK)
        return status;
    char *version = answer.kind == ANSWER_OK ? answer_text_object(&answer) : NULL;
    if (!version) {
        status = tn_fail(err, TN_E_ARGUMENT, "%s", answer.kind == ANSWER_OK ? "out of memory" : answer.message);
    } else if (answer_cache_renew(connection->cache, version)) {
        free(connection->filter_service);
        connection->filter_service = NULL;
    }
    free(version);
    client_answer_finish(&answer);
    return status;
}

/* Sends the call's request and sets the result. keep: the answer may be kept. */
static void send_request(scalar_call *call, bool keep)
{
    tn_error err = TN_ERROR_INIT;
    client_answer answer;
    char *body = NULL;

    if (keep && !(body = strdup(call->request.body))) {
        free(call->request.body);
        sqlite3_result_error_nomem(call->context);
        return;
    }
    tn_status status =
        sql_connection_call(call->connection, call->request, &call->options, call->kind->wants_text, &answer, &err);
    if (status == TN_OK && call->kind == &kinds[EMBED])
        client_answer_name_missing(&answer, "embeddings");
    if (status != TN_OK) {
        raise_status(call, status, &err);
    } else if (answer.kind == ANSWER_SYSTEMIC) {
        raise(call, answer.message);
    } else if (answer.kind == ANSWER_ROW) {
        set_fault(call, &answer);
    } else {
        set_answer(call, &answer, keep, body);
        client_answer_finish(&answer);
    }
    free(body);
}

static void answer_call(scalar_call *call)
{
    bool keep = run_options_repeatable(&call->options);
    size_t bytes;
    const char *kept =
        keep ? answer_cache_get(call->connection->cache, call->request.path, call->request.body, &bytes) : NULL;

    if (kept) {
        set_value(call, kept, bytes);
        free(call->request.body);
        return;
    }
    send_request(call, keep);
}

static text_span span_of(sqlite3_value *value)
{
    const char *bytes = (const char *)sqlite3_value_text(value);

    return (text_span){bytes, (size_t)sqlite3_value_bytes(value)};
}

static tn_status learn_filter(scalar_call *call, tn_error *err)
{
    sql_connection *connection = call->connection;

    if (!connection->filter_service || strcmp(connection->filter_service, call->service) != 0) {
        free(connection->filter_service);
        connection->filter_service = NULL;
        tn_status status = sql_connection_open_calls(connection, err);
        if (status == TN_OK) {
            request_window_adjust(connection->calls, call->options.limits.retries, call->options.limits.timeout_ms);
            status = yes_no_learn(connection->calls, call->service, sql_wait, connection->db, &connection->filter, err);
        }
        if (status != TN_OK)
            return status;
        connection->filter_service = strdup(call->service);
    }
    return yes_no_constrain(&connection->filter, &call->options, err);
}

/* What is wrong with the row's own texts is the row's error; everything else raises. *ret_row: which of them. */
static tn_status make_request(scalar_call *call, sqlite3_value **arguments, bool *ret_row, tn_error *err)
{
    client_request *request = &call->request;
    tn_status status = TN_OK;

    *ret_row = true;
    if (sqlite3_value_type(arguments[1]) == SQLITE_BLOB) /* before it is read as text, which changes its type */
        return tn_fail(err, TN_E_ARGUMENT, "a BLOB is no text: CAST(... AS TEXT)");
    text_span text = span_of(arguments[1]);
    switch ((scalar_index)(call->kind - kinds)) {
    case CHAT:
        return question_chat(call->service, text, &call->options, request, err);
    case JSON:
        return question_json(call->service, text, span_of(arguments[2]), &call->options, request, err);
    case EMBED:
        return question_embed(call->service, text, request, err);
    case TOKENS:
        return question_tokens(call->service, text, true, request, err);
    case FILTER:
        status = learn_filter(call, err);
        *ret_row = false;
        if (status != TN_OK)
            return status;
        *ret_row = true;
        return question_complete(call->service, text, &call->options, NULL, request, err);
    default:
        return question_complete(call->service, text, &call->options, NULL, request, err);
    }
}

static void run_scalar(sqlite3_context *context, int count, sqlite3_value **arguments, scalar_index index)
{
    scalar_call call = {.kind = &kinds[index], .context = context, .connection = sqlite3_user_data(context)};
    text_span options = {NULL, 0};
    tn_error err = TN_ERROR_INIT;
    bool row = false;

    for (int i = 0; i < count; i++)
        if (sqlite3_value_type(arguments[i]) == SQLITE_NULL)
            return; /* NULL in, NULL out */
    if (count > call.kind->arguments)
        options = span_of(arguments[count - 1]);
    call.service = (const char *)sqlite3_value_text(arguments[0]);
    tn_status status = call.service ? TN_OK : tn_fail(&err, TN_E_MEMORY, "out of memory");
    if (status == TN_OK)
        status = run_options_parse(options.bytes, options.count, ON_ERROR_NULL, &call.options, &err);
    if (status != TN_OK) {
        raise_status(&call, status, &err);
        return;
    }
    if (index == FILTER || run_options_repeatable(&call.options))
        status = renew_cache(call.connection, &err);
    if (status == TN_OK)
        status = make_request(&call, arguments, &row, &err);
    if (status == TN_OK) {
        answer_call(&call);
    } else if (row && status == TN_E_ARGUMENT) {
        client_answer fault;
        client_answer_fail(&fault, ANSWER_ROW, "bad_row", err.msg);
        set_fault(&call, &fault);
    } else {
        raise_status(&call, status, &err);
    }
    run_options_finish(&call.options);
}

#define SCALAR_FUNCTION(name, index)                                                 \
    static void name(sqlite3_context *context, int count, sqlite3_value **arguments) \
    {                                                                                \
        run_scalar(context, count, arguments, index);                                \
    }
SCALAR_FUNCTION(llm_complete, COMPLETE)
SCALAR_FUNCTION(llm_chat, CHAT)
SCALAR_FUNCTION(llm_try, TRY)
SCALAR_FUNCTION(llm_json, JSON)
SCALAR_FUNCTION(llm_filter, FILTER)
SCALAR_FUNCTION(llm_embed, EMBED)
SCALAR_FUNCTION(llm_tokens, TOKENS)
#undef SCALAR_FUNCTION

static void llm_server(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    sql_connection *connection = sqlite3_user_data(context);
    const char *address = count > 0 ? (const char *)sqlite3_value_text(arguments[0]) : NULL;
    const char *key = count > 1 ? (const char *)sqlite3_value_text(arguments[1]) : NULL;
    tn_error err = TN_ERROR_INIT;

    if (address && sql_connection_use(connection, address, key, &err) != TN_OK)
        sqlite3_result_error(context, err.msg, -1);
    else
        sqlite3_result_text(context, connection->address, -1, SQLITE_TRANSIENT);
}

static void llm_last_error(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    const sql_connection *connection = sqlite3_user_data(context);
    char *text = connection->last_fault.kind == ANSWER_ROW ? answer_text_try(&connection->last_fault) : NULL;

    (void)count;
    (void)arguments;
    if (!text)
        return;
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
    sqlite3_result_subtype(context, JSON_SUBTYPE);
    free(text);
}

int scalars_register(sqlite3 *db, sql_connection *connection)
{
    typedef void sql_function(sqlite3_context *, int, sqlite3_value **);
    static sql_function *const functions[SCALAR_COUNT] = {llm_complete, llm_chat,  llm_try,   llm_json,
                                                          llm_filter,   llm_embed, llm_tokens};
    const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    int code = SQLITE_OK;

    for (int i = 0; i < SCALAR_COUNT; i++)
        for (int extra = 0; code == SQLITE_OK && extra <= (int)kinds[i].has_options; extra++)
            code = sqlite3_create_function_v2(db, kinds[i].name, kinds[i].arguments + extra, flags,
                                              sql_connection_retain(connection), functions[i], NULL, NULL,
                                              sql_connection_release);
    for (int count = 0; code == SQLITE_OK && count <= 2; count++)
        code = sqlite3_create_function_v2(db, "llm_server", count, flags, sql_connection_retain(connection), llm_server,
                                          NULL, NULL, sql_connection_release);
    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(db, "llm_last_error", 0, flags, sql_connection_retain(connection),
                                          llm_last_error, NULL, NULL, sql_connection_release);
    return code;
}
