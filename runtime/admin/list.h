/* runtime/admin/list.h: what OpenAI's lists of files and of batches share. */
#ifndef ADMIN_LIST_H
#define ADMIN_LIST_H

#include "admin/answer.h"
#include "admin/request.h"

/* ?limit, a whole number from 1 to max; *limit stays what it is where it is not said. False: *ret_answer says what is
 * wrong with it. */
bool list_limit(const request *request, int max, size_t *limit, answer *ret_answer);
/* The list itself; data is moved. */
answer list_answer(json_t *data, bool more);

#endif
