/* scalars.c: the functions of one row. What no row can survive raises; a row that fails is NULL, with one warning for
 * each place in a statement that calls the function. What libraries allocate is freed on the way out, whichever that
 * is.
 */
#include "session.h"

#include <catalog/pg_type_d.h>
#include <fmgr.h>
#include <utils/builtins.h>
#include <utils/jsonb.h>
#include <utils/lsyscache.h>

/* A function call in a statement, from its first row to its last. */
typedef struct call_site {
    bool has_warned;
    char *filter_service; /* whose tokens `filter` holds */
    yes_no filter;
} call_site;

typedef enum request_kind { ASK_COMPLETE, ASK_CHAT, ASK_JSON, ASK_FILTER, ASK_EMBED, ASK_TOKENS } request_kind;

typedef struct scalar_call {
    const char *name, *service;
    request_kind kind;
    bool wants_text, tells_faults;
    text_span text, schema;
    answer_writer *write; /* NULL: llm_filter's own */
    call_site *site;
    run_options options;
    client_answer answer;
    char *result; /* NULL: SQL's NULL */
} scalar_call;

PG_FUNCTION_INFO_V1(llm_complete);
PG_FUNCTION_INFO_V1(llm_chat);
PG_FUNCTION_INFO_V1(llm_try);
PG_FUNCTION_INFO_V1(llm_json);
PG_FUNCTION_INFO_V1(llm_filter);
PG_FUNCTION_INFO_V1(llm_embed);
PG_FUNCTION_INFO_V1(llm_tokens);

static void fail(const scalar_call *call, const char *message) pg_attribute_noreturn();
static void fail(const scalar_call *call, const char *message)
{
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("%s: %s", call->name, session_told(message))));
}

static text_span span_of(const text *value)
{
    return (text_span){VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

static text_span span_of_jsonb(Jsonb *value)
{
    char *bytes = JsonbToCString(NULL, &value->root, VARSIZE(value));
    return (text_span){bytes, strlen(bytes)};
}

static call_site *site_of(FunctionCallInfo fcinfo)
{
    if (!fcinfo->flinfo->fn_extra)
        fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(call_site));
    return fcinfo->flinfo->fn_extra;
}

static void learn_filter(scalar_call *call, MemoryContext site_context)
{
    call_site *site = call->site;
    request_window *window = session_window();
    tn_error err = TN_ERROR_INIT;
    tn_status status = TN_OK;

    if (!site->filter_service || strcmp(site->filter_service, call->service) != 0) {
        request_window_adjust(window, call->options.limits.retries, call->options.limits.timeout_ms);
        PG_TRY();
        {
            status = yes_no_learn(window, call->service, session_wait, NULL, &site->filter, &err);
        }
        PG_CATCH();
        {
            request_window_clear(window);
            PG_RE_THROW();
        }
        PG_END_TRY();
        if (status != TN_OK)
            fail(call, err.msg);
        site->filter_service = MemoryContextStrdup(site_context, call->service);
    }
    if (yes_no_constrain(&site->filter, &call->options, &err) != TN_OK)
        fail(call, err.msg);
}

static tn_status make_request(scalar_call *call, client_request *ret_request, tn_error *err)
{
    switch (call->kind) {
    case ASK_CHAT:
        return question_chat(call->service, call->text, &call->options, ret_request, err);
    case ASK_JSON:
        return question_json(call->service, call->text, call->schema, &call->options, ret_request, err);
    case ASK_EMBED:
        return question_embed(call->service, call->text, ret_request, err);
    case ASK_TOKENS:
        return question_tokens(call->service, call->text, true, ret_request, err);
    default:
        return question_complete(call->service, call->text, &call->options, NULL, ret_request, err);
    }
}

/* What the row is when its request has failed. */
static void set_fault(scalar_call *call)
{
    if (call->tells_faults) {
        call->result = answer_text_try(&call->answer);
        if (!call->result)
            fail(call, "out of memory");
        return;
    }
    if (call->options.on_error == ON_ERROR_FAIL)
        fail(call, call->answer.message);
    if (!call->site->has_warned)
        ereport(WARNING,
                (errmsg("%s: a row is NULL: %s (%s)", call->name, call->answer.message, call->answer.code),
                 errhint("Further rows that fail in this statement are not told; llm_try and llm_map tell each one.")));
    call->site->has_warned = true;
}

static void set_result(scalar_call *call)
{
    bool yes = false;

    if (call->write)
        call->result = call->write(&call->answer);
    else if (yes_no_read(&call->site->filter, &call->answer, &yes))
        call->result = strdup(yes ? "t" : "f");
    if (call->result)
        return;
    client_answer fault;
    client_answer_reject(&call->answer, &fault);
    client_answer_finish(&call->answer);
    call->answer = fault;
    set_fault(call);
}

static void ask(scalar_call *call)
{
    client_request request;
    tn_error err = TN_ERROR_INIT;

    session_window(); /* raises before there is a request to lose */
    tn_status status = make_request(call, &request, &err);
    if (status == TN_E_ARGUMENT) {
        client_answer_fail(&call->answer, ANSWER_ROW, "bad_row", err.msg);
        set_fault(call);
        return;
    }
    if (status == TN_OK)
        status = session_call(request, &call->options.limits, call->wants_text, &call->answer, &err);
    if (status != TN_OK)
        fail(call, err.msg);
    if (call->kind == ASK_EMBED)
        client_answer_name_missing(&call->answer, "embeddings");
    if (call->answer.kind == ANSWER_SYSTEMIC)
        fail(call, call->answer.message);
    client_answer_forbid_zero(&call->answer, call->kind == ASK_CHAT);
    if (call->answer.kind == ANSWER_ROW)
        set_fault(call);
    else
        set_result(call);
}

/* The result as palloc'd text, NULL for SQL's NULL. options: NULL where the function takes none. */
static char *run(FunctionCallInfo fcinfo, scalar_call *call, Jsonb *options)
{
    text_span options_text = options ? span_of_jsonb(options) : (text_span){NULL, 0};
    tn_error err = TN_ERROR_INIT;
    char *result = NULL;

    call->site = site_of(fcinfo);
    call->service = text_to_cstring(PG_GETARG_TEXT_PP(0));
    if (run_options_parse(options_text.bytes, options_text.count, ON_ERROR_NULL, &call->options, &err) != TN_OK)
        fail(call, err.msg);
    PG_TRY();
    {
        if (call->kind == ASK_FILTER)
            learn_filter(call, fcinfo->flinfo->fn_mcxt);
        ask(call);
        if (call->result)
            result = pstrdup(call->result);
    }
    PG_FINALLY();
    {
        run_options_finish(&call->options);
        client_answer_finish(&call->answer);
        free(call->result);
        call->result = NULL;
    }
    PG_END_TRY();
    return result;
}

static Datum jsonb_of(const char *text)
{
    return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

PGDLLEXPORT Datum llm_complete(PG_FUNCTION_ARGS)
{
    scalar_call call = {.name = "llm_complete",
                        .kind = ASK_COMPLETE,
                        .wants_text = true,
                        .text = span_of(PG_GETARG_TEXT_PP(1)),
                        .write = answer_text_value};
    char *value = run(fcinfo, &call, PG_GETARG_JSONB_P(2));

    if (!value)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(cstring_to_text(value));
}

PGDLLEXPORT Datum llm_chat(PG_FUNCTION_ARGS)
{
    scalar_call call = {
        .name = "llm_chat", .kind = ASK_CHAT, .text = span_of_jsonb(PG_GETARG_JSONB_P(1)), .write = answer_text_object};
    char *value = run(fcinfo, &call, PG_GETARG_JSONB_P(2));

    if (!value)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(jsonb_of(value));
}

PGDLLEXPORT Datum llm_try(PG_FUNCTION_ARGS)
{
    scalar_call call = {.name = "llm_try",
                        .kind = ASK_COMPLETE,
                        .wants_text = true,
                        .tells_faults = true,
                        .text = span_of(PG_GETARG_TEXT_PP(1)),
                        .write = answer_text_try};
    char *value = run(fcinfo, &call, PG_GETARG_JSONB_P(2));

    PG_RETURN_DATUM(jsonb_of(value));
}

PGDLLEXPORT Datum llm_json(PG_FUNCTION_ARGS)
{
    scalar_call call = {.name = "llm_json",
                        .kind = ASK_JSON,
                        .wants_text = true,
                        .text = span_of(PG_GETARG_TEXT_PP(1)),
                        .schema = span_of_jsonb(PG_GETARG_JSONB_P(2)),
                        .write = answer_text_json};
    char *value = run(fcinfo, &call, PG_GETARG_JSONB_P(3));

    if (!value)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(jsonb_of(value));
}

PGDLLEXPORT Datum llm_filter(PG_FUNCTION_ARGS)
{
    scalar_call call = {
        .name = "llm_filter", .kind = ASK_FILTER, .wants_text = true, .text = span_of(PG_GETARG_TEXT_PP(1))};
    char *value = run(fcinfo, &call, PG_GETARG_JSONB_P(2));

    if (!value)
        PG_RETURN_NULL();
    PG_RETURN_BOOL(value[0] == 't');
}

/* "[0.5, 1]" to real[]; the list has been checked to hold numbers only. */
PGDLLEXPORT Datum llm_embed(PG_FUNCTION_ARGS)
{
    scalar_call call = {
        .name = "llm_embed", .kind = ASK_EMBED, .text = span_of(PG_GETARG_TEXT_PP(1)), .write = answer_text_embedding};
    char *value = run(fcinfo, &call, NULL);
    Oid input, parameter;

    if (!value)
        PG_RETURN_NULL();
    value[0] = '{';
    value[strlen(value) - 1] = '}';
    getTypeInputInfo(FLOAT4ARRAYOID, &input, &parameter);
    PG_RETURN_DATUM(OidInputFunctionCall(input, value, parameter, -1));
}

PGDLLEXPORT Datum llm_tokens(PG_FUNCTION_ARGS)
{
    scalar_call call = {
        .name = "llm_tokens", .kind = ASK_TOKENS, .text = span_of(PG_GETARG_TEXT_PP(1)), .write = answer_text_count};
    char *value = run(fcinfo, &call, NULL);

    if (!value)
        PG_RETURN_NULL();
    PG_RETURN_INT64(strtoll(value, NULL, 10));
}
