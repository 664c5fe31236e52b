/* module.c: the door that PostgreSQL knocks at. */
#include "session.h"

#include <fmgr.h>

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

PGDLLEXPORT void _PG_init(void)
{
    session_define_settings();
}
