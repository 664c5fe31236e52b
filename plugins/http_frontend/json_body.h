/* json_body.h: a request body, from bytes that anyone may have sent, to a jansson object.
 *
 * A scan before the parse bounds depth and the number of values and containers, because jansson recurses once per level
 * and spends up to 250 bytes on a two-byte "{}". Duplicate keys, lone surrogates, NUL and ill-formed UTF-8 are refused.
 */
#ifndef HTTP_JSON_BODY_H
#define HTTP_JSON_BODY_H

#include "api_error.h"

#include <jansson.h>

enum { JSON_BODY_VALUES_MAX = 1 << 20, JSON_BODY_CONTAINERS_MAX = 1 << 16 };

/* bytes need not be terminated. *ret_root: an object, for the caller to json_decref. */
tn_status json_body_parse(const char *bytes, size_t n, uint32_t depth_max, json_t **ret_root, api_error *error);

#endif
