/* runtime/batch/check.h: whether a file of OpenAI's lines can be run, all that is wrong with it by line. */
#ifndef BATCH_CHECK_H
#define BATCH_CHECK_H

#include "tenon/error.h"

#include <jansson.h>

enum { CHECK_ERRORS_MAX = 100 };

/* *ret_found: owned: {"rows", "model" (null: no line says), "errors": [{"code", "message", "line" (null: the whole
 * file), "param"}]}, of errors the first CHECK_ERRORS_MAX. endpoint: what each line's url must be.
 * Errors: TN_E_IO, TN_E_MEMORY; never for what a line says. */
tn_status batch_check(const char *path, const char *endpoint, json_t **ret_found, tn_error *err);

#endif
