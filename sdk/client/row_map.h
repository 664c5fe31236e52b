/* sdk/client/row_map.h: prompts in, answers out, many in flight: what llm_map is in every database.
 *
 *   while rows are left and row_map_has_room:  row_map_add (the caller keeps the row's key by its slot)
 *   row_map_take gives a finished row:          hand it on
 *   else:                                       wait for row_map_window's fd, request_window_step, again
 *
 * Rows fail one by one; the map fails as a whole when no row can succeed, when a row fails and on_error says 'fail',
 * and, unless the option breaker is false, when more than 20 % of the first 50 rows that were asked have failed.
 */
#ifndef CLIENT_ROW_MAP_H
#define CLIENT_ROW_MAP_H

#include "client/answer.h"
#include "client/question.h"

enum { ROW_MAP_BREAKER_ROWS = 50, ROW_MAP_BREAKER_PERCENT = 20 };

typedef struct row_map row_map;

typedef struct row_result {
    uint32_t slot;
    client_answer answer; /* owned by the caller */
} row_result;

/* options: moved in every case. */
tn_status row_map_create(const client_server *server, const char *service, run_options *options, row_map **ret_map,
                         tn_error *err);
void row_map_destroy(row_map *map); /* cancels what is in flight. NULL is fine. */
request_window *row_map_window(row_map *map);
bool row_map_has_room(const row_map *map);
/* prompt: bytes NULL is SQL's NULL: the row is not asked. fields: JSON object of the row's own; bytes NULL: none. What
 * is wrong with either is the row's error. Steps the window, for the next row may take its time. Returns the slot. */
uint32_t row_map_add(row_map *map, text_span prompt, text_span fields);
/* *ret_taken: false when no row has finished. An error ends the map. */
tn_status row_map_take(row_map *map, row_result *ret_result, bool *ret_taken, tn_error *err);
bool row_map_is_empty(const row_map *map);

#endif
