/* client.h: sdk/client beside PostgreSQL's headers, which declare json_object and json_typeof too. Nothing here uses
 * jansson's. */
#ifndef POSTGRES_CLIENT_H
#define POSTGRES_CLIENT_H

#include <postgres.h>

#define json_object jansson_object
#include "client/answer_text.h"
#include "client/row_map.h"
#include "client/yes_no.h"
#undef json_object
#undef json_typeof

#endif
