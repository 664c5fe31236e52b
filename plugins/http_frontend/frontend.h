/* frontend.h: the "tn.frontend" table of this plugin. */
#ifndef HTTP_FRONTEND_H
#define HTTP_FRONTEND_H

#include "tenon/frontend.h"

extern const tn_frontend_table http_frontend_table;

#endif
