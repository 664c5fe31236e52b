/* sdk/client/new_object.h: an empty JSON object, for a library that PostgreSQL loads.
 *
 * The server program exports a function json_object of its own, and the dynamic linker finds that one first: nothing in
 * sdk/client may call jansson's. (jansson's own calls are bound within it.) tests/e2e/test_postgres.py looks for names
 * that collide.
 */
#ifndef CLIENT_NEW_OBJECT_H
#define CLIENT_NEW_OBJECT_H

#include <jansson.h>

static inline json_t *new_object(void)
{
    return json_pack("{}");
}

#endif
