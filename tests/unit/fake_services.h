/* tests/unit/fake_services.h: services without engines: a table of names whose states the test sets. It is linked in
 * place of runtime/service.
 */
#ifndef TESTS_FAKE_SERVICES_H
#define TESTS_FAKE_SERVICES_H

#include "service/services.h"

enum { FAKE_SERVICES_MAX = 8, FAKE_TEXT = 512 };

typedef struct fake_service {
    char name[64], model[FAKE_TEXT], pool[64];
    char settings[FAKE_TEXT]; /* "a=1 b=2 " */
    uint32_t gpus, min, max, autosuspend, drain_s;
    service_state state;
} fake_service;

struct services {
    fake_service at[FAKE_SERVICES_MAX];
    uint32_t count;
    uint32_t creates, waits;   /* calls */
    bool misfit;               /* the next create or update is told so */
    service_state reached;     /* what a wait brings about */
    bool never;                /* no wait brings anything about */
    uint32_t log_lines, ticks; /* of services_logs; it ticks on until the sink has enough */
};

fake_service *fake_service_find(services *s, const char *name);

#endif
