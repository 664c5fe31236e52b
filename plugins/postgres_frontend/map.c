/* map.c: llm_map, a query's rows asked many at a time.
 *
 * The query runs as a read-only cursor of SPI, fetched one row at a time as the window has room; answers go to a
 * tuplestore, which spills to disk, so that a backend's memory holds the rows in flight and no more. The statement's
 * snapshot is held all the while.
 */
#include "session.h"

#include <access/htup_details.h>
#include <executor/spi.h>
#include <fmgr.h>
#include <funcapi.h>
#include <miscadmin.h>
#include <utils/builtins.h>
#include <utils/jsonb.h>
#include <utils/memutils.h>

enum { COLUMNS = 10 };

typedef struct map_run {
    ReturnSetInfo *result;
    row_map *map;
    Portal portal;             /* NULL: all its rows have been read */
    char **keys;               /* by slot */
    MemoryContext row_context; /* emptied after every row */
} map_run;

PG_FUNCTION_INFO_V1(llm_map);

static void fail(const char *message) pg_attribute_noreturn();
static void fail(const char *message)
{
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("llm_map: %s", session_told(message))));
}

static Portal open_query(const char *query)
{
    SPIPlanPtr plan = SPI_prepare(query, 0, NULL);

    if (!plan)
        fail("the query cannot be prepared");
    if (!SPI_is_cursor_plan(plan))
        fail("the query must be one statement that gives rows");
    Portal portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
    int count = portal->tupDesc ? portal->tupDesc->natts : 0;
    if (count < 2 || count > 3)
        ereport(ERROR,
                (errcode(ERRCODE_DATATYPE_MISMATCH),
                 errmsg("llm_map: the query must give (key, prompt) or (key, prompt, params), not %d columns", count)));
    return portal;
}

/* Column `index`, from 1, of the row just fetched, as text; bytes NULL for NULL and for a column that is not there.
 * Output functions leave things behind (jsonb's a copy of its value), and the context is emptied after each row. */
static text_span fetched_text(int index)
{
    TupleDesc columns = SPI_tuptable->tupdesc;
    char *text = index <= columns->natts ? SPI_getvalue(SPI_tuptable->vals[0], columns, index) : NULL;

    return (text_span){text, text ? strlen(text) : 0};
}

static void add_row(map_run *run)
{
    MemoryContext before = MemoryContextSwitchTo(run->row_context);
    text_span key = fetched_text(1), prompt = fetched_text(2), params = fetched_text(3);
    uint32_t slot = row_map_add(run->map, prompt, params);

    MemoryContextSwitchTo(before);
    run->keys[slot] = key.bytes ? pstrdup(key.bytes) : NULL;
    MemoryContextReset(run->row_context);
}

static void fill(map_run *run)
{
    while (run->portal && row_map_has_room(run->map)) {
        SPI_cursor_fetch(run->portal, true, 1);
        if (SPI_processed == 0) {
            SPI_cursor_close(run->portal);
            run->portal = NULL;
            return;
        }
        add_row(run);
        SPI_freetuptable(SPI_tuptable);
    }
}

static void set_text(Datum *value, bool *is_null, const char *text)
{
    *is_null = !text || !*text;
    if (!*is_null)
        *value = CStringGetTextDatum(text);
}

static void set_count(Datum *value, bool *is_null, int64_t count)
{
    *is_null = count < 0;
    *value = Int64GetDatum(count);
}

/* The row's answer into the result. */
static void put_row(map_run *run, const char *key, client_answer *answer)
{
    Datum values[COLUMNS] = {0};
    bool nulls[COLUMNS] = {false};
    MemoryContext before = MemoryContextSwitchTo(run->row_context);

    client_answer_forbid_zero(answer, false);
    nulls[0] = !key;
    if (key)
        values[0] = CStringGetTextDatum(key);
    nulls[1] = !answer->value;
    if (answer->value)
        values[1] = PointerGetDatum(cstring_to_text_with_len(answer->value, (int)answer->value_bytes));
    set_text(&values[2], &nulls[2], client_answer_status(answer));
    set_text(&values[3], &nulls[3], answer->code);
    set_text(&values[4], &nulls[4], answer->message);
    set_text(&values[5], &nulls[5], answer->finish_reason);
    set_count(&values[6], &nulls[6], answer->prompt_tokens);
    set_count(&values[7], &nulls[7], answer->completion_tokens);
    set_count(&values[8], &nulls[8], answer->attempts > 0 ? (int64_t)answer->latency_ms : -1);
    values[9] = Int32GetDatum((int32)answer->attempts);
    tuplestore_putvalues(run->result->setResult, run->result->setDesc, values, nulls);
    MemoryContextSwitchTo(before);
    MemoryContextReset(run->row_context);
}

static void hand_on(map_run *run, row_result *row)
{
    char **key = &run->keys[row->slot];

    PG_TRY();
    {
        put_row(run, *key, &row->answer);
    }
    PG_FINALLY();
    {
        client_answer_finish(&row->answer);
    }
    PG_END_TRY();
    if (*key)
        pfree(*key);
    *key = NULL;
}

static void run_map(map_run *run)
{
    request_window *window = row_map_window(run->map);
    tn_error err = TN_ERROR_INIT;
    row_result row;
    bool taken;

    run->keys = palloc0(request_window_slots(window) * sizeof *run->keys);
    for (;;) {
        fill(run);
        if (row_map_take(run->map, &row, &taken, &err) != TN_OK)
            fail(err.msg);
        if (taken) {
            hand_on(run, &row);
            CHECK_FOR_INTERRUPTS();
        } else if (row_map_is_empty(run->map) && !run->portal) {
            return;
        } else {
            session_wait(NULL, request_window_fd(window), request_window_timeout_ms(window));
            request_window_step(window);
        }
    }
}

static row_map *make_map(const char *service, Jsonb *options_json)
{
    client_server server = session_server();
    char *text = JsonbToCString(NULL, &options_json->root, VARSIZE(options_json));
    tn_error err = TN_ERROR_INIT;
    run_options options;
    row_map *map;

    tn_status status = run_options_parse(text, strlen(text), ON_ERROR_DETAIL, &options, &err);
    if (status == TN_OK)
        status = row_map_create(&server, service, &options, &map, &err);
    if (status != TN_OK)
        fail(err.msg);
    return map;
}

PGDLLEXPORT Datum llm_map(PG_FUNCTION_ARGS)
{
    const char *service = text_to_cstring(PG_GETARG_TEXT_PP(0)), *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
    map_run run = {.result = (ReturnSetInfo *)fcinfo->resultinfo};

    InitMaterializedSRF(fcinfo, 0);
    run.row_context = AllocSetContextCreate(CurrentMemoryContext, "llm_map row", ALLOCSET_DEFAULT_SIZES);
    SPI_connect();
    run.portal = open_query(query);
    run.map = make_map(service, PG_GETARG_JSONB_P(2));
    PG_TRY();
    {
        run_map(&run);
    }
    PG_FINALLY();
    {
        row_map_destroy(run.map); /* closes the connections: the server cancels what is in flight */
    }
    PG_END_TRY();
    SPI_finish();
    return (Datum)0;
}
