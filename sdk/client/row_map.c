/* row_map.c: see row_map.h. */
#include "client/row_map.h"

#include <string.h>

typedef struct mapped_row {
    json_t *fields;        /* the row's own; NULL: none */
    client_answer refusal; /* ANSWER_ROW for a row that could not be asked */
} mapped_row;

struct row_map {
    request_window *window;
    run_options options;
    char *service;
    mapped_row *rows; /* by slot */
    uint32_t asked, failed;
    bool closed; /* the breaker's rows have passed, or it has none */
};

tn_status row_map_create(const client_server *server, const char *service, run_options *options, row_map **ret_map,
                         tn_error *err)
{
    row_map *map = calloc(1, sizeof *map);
    tn_status status;

    if (!map) {
        run_options_finish(options);
        return tn_fail(err, TN_E_MEMORY, "out of memory for the rows in flight");
    }
    map->options = *options;
    *options = (run_options){.fields = NULL};
    map->closed = !map->options.breaker;
    status = request_window_create(server, &map->options.limits, &map->window, err);
    if (status == TN_OK) {
        map->service = strdup(service);
        map->rows = calloc(request_window_slots(map->window), sizeof *map->rows);
        if (!map->service || !map->rows)
            status = tn_fail(err, TN_E_MEMORY, "out of memory for the rows in flight");
    }
    if (status != TN_OK) {
        row_map_destroy(map);
        return status;
    }
    *ret_map = map;
    return TN_OK;
}

static void finish_row(mapped_row *row)
{
    json_decref(row->fields);
    *row = (mapped_row){.fields = NULL};
}

void row_map_destroy(row_map *map)
{
    if (!map)
        return;
    for (uint32_t i = 0; map->rows && i < request_window_slots(map->window); i++)
        finish_row(&map->rows[i]);
    request_window_destroy(map->window);
    run_options_finish(&map->options);
    free(map->service);
    free(map->rows);
    free(map);
}

request_window *row_map_window(row_map *map)
{
    return map->window;
}

bool row_map_has_room(const row_map *map)
{
    return request_window_has_room(map->window);
}

bool row_map_is_empty(const row_map *map)
{
    return request_window_outstanding(map->window) == 0;
}

static tn_status read_fields(text_span text, json_t **ret_fields, tn_error *err)
{
    json_error_t fault;
    json_t *fields;

    if (!text.bytes)
        return TN_OK;
    fields = json_loadb(text.bytes, text.count, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(fields)) {
        json_decref(fields);
        return tn_fail(err, TN_E_ARGUMENT, "the row's params are not a JSON object: %.200s",
                       fields ? "another value" : fault.text);
    }
    static const char *const own[] = {"model", "messages", "prompt", "stream", "n", "echo"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (json_object_get(fields, own[i])) {
            json_decref(fields);
            return tn_fail(err, TN_E_ARGUMENT, "the row's params may not hold '%s'", own[i]);
        }
    *ret_fields = fields;
    return TN_OK;
}

/* A row whose answer is known before it is asked. */
static uint32_t refuse(row_map *map, const char *message)
{
    uint32_t slot = request_window_skip(map->window);

    client_answer_fail(&map->rows[slot].refusal, ANSWER_ROW, "bad_row", message);
    return slot;
}

uint32_t row_map_add(row_map *map, text_span prompt, text_span fields)
{
    tn_error err = TN_ERROR_INIT;
    client_request request;
    json_t *own = NULL;

    if (!prompt.bytes)
        return request_window_skip(map->window);
    tn_status status = read_fields(fields, &own, &err);
    if (status == TN_OK)
        status = question_complete(map->service, prompt, &map->options, own, &request, &err);
    if (status != TN_OK) {
        json_decref(own);
        return refuse(map, err.msg);
    }
    uint32_t slot = request_window_add(map->window, request);
    map->rows[slot].fields = own;
    request_window_step(map->window); /* the next row may take its time, and the deadlines of these run */
    return slot;
}

/* Counts a row that was asked; an error when too many of the first ones failed. */
static tn_status count_row(row_map *map, const client_answer *answer, tn_error *err)
{
    if (map->closed || answer->kind == ANSWER_NULL)
        return TN_OK;
    map->asked++;
    map->failed += answer->kind == ANSWER_ROW;
    map->closed = map->asked >= ROW_MAP_BREAKER_ROWS;
    if (map->failed * 100 <= ROW_MAP_BREAKER_ROWS * ROW_MAP_BREAKER_PERCENT)
        return TN_OK;
    return tn_fail(err, TN_E_ARGUMENT, "%u of the first %u rows failed, which is too many to go on; the last: %.300s",
                   map->failed, map->asked, answer->message);
}

tn_status row_map_take(row_map *map, row_result *ret_result, bool *ret_taken, tn_error *err)
{
    row_result result = {.slot = 0};
    client_reply reply;

    *ret_taken = request_window_take(map->window, &result.slot, &reply);
    if (!*ret_taken)
        return TN_OK;
    mapped_row *row = &map->rows[result.slot];
    client_answer_read(&reply, true, row->fields, &result.answer);
    if (row->refusal.kind == ANSWER_ROW)
        result.answer = row->refusal;
    finish_row(row);
    tn_status status = count_row(map, &result.answer, err);
    if (status == TN_OK && result.answer.kind == ANSWER_SYSTEMIC)
        status = tn_fail(err, TN_E_ARGUMENT, "%s", result.answer.message);
    if (status == TN_OK && result.answer.kind == ANSWER_ROW && map->options.on_error == ON_ERROR_FAIL)
        status = tn_fail(err, TN_E_ARGUMENT, "%s (%s)", result.answer.message, result.answer.code);
    if (status != TN_OK) {
        client_answer_finish(&result.answer);
        *ret_taken = false;
        return status;
    }
    if (result.answer.kind == ANSWER_ROW && map->options.on_error == ON_ERROR_NULL)
        result.answer.code[0] = result.answer.message[0] = '\0';
    *ret_result = result;
    return TN_OK;
}
