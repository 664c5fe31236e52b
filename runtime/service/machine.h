/* runtime/service/machine.h: what is to be done for one service, from what is wished and what is seen.
 *
 * Logic alone: no clock, no process, no file. supervisor.c sees, asks, and does. It is asked whenever something
 * happened and once a second; what it wants done it wants again until it sees it done, so nothing depends on an event
 * that comes once.
 */
#ifndef SERVICE_MACHINE_H
#define SERVICE_MACHINE_H

#include "service/services.h"

enum {
    MACHINE_FAILURES_MAX = 5,         /* in a row, then it is given up */
    MACHINE_DELAY_MAX_MS = 60 * 1000, /* between two starts */
    MACHINE_STABLE_MS = 60 * 1000,    /* an instance that was ready so long ends a row of failures */
    MACHINE_CROWDED_MS = 10 * 1000,   /* more requests than slots for so long: one instance more */
    MACHINE_QUIET_MS = 300 * 1000,    /* one less would be half full for so long: one instance less */
    MACHINE_PAUSE_MS = 2500           /* between two questions: the process itself, or its machine, was stopped */
};

typedef enum instance_phase { INSTANCE_LOADING, INSTANCE_READY, INSTANCE_DRAINING, INSTANCE_STOPPING } instance_phase;

typedef struct machine_instance {
    instance_phase phase;
    uint32_t generation;
    uint32_t running;  /* requests on it */
    bool exited;       /* its process is gone */
    bool hopeless;     /* exited while loading, for a reason that another start would meet again */
    bool answers;      /* LOADING: it says that its socket is open */
    uint64_t since_ms; /* since when it is in its phase */
    uint64_t heard_ms; /* READY: when it was last heard to be well */
} machine_instance;

typedef struct machine_limits {
    uint64_t start_ms, hang_ms, drain_ms, stop_ms, restart_delay_ms;
} machine_limits;

typedef struct machine_view {
    uint64_t now_ms; /* of a clock that never goes back */
    machine_limits limits;
    bool suspended, deleting, failed, update_failed;
    uint32_t min, max, generation;
    uint64_t autosuspend_ms, drain_ms; /* drain_ms: of the last suspend or delete */
    uint32_t running, waiting;         /* requests of the service */
    uint64_t idle_ms;
    uint32_t slots; /* requests that one instance runs at once */
    const machine_instance *instances;
    uint32_t count;
} machine_view;

/* What it remembers between two questions; zeroed at first, but for random. */
typedef struct machine {
    uint32_t target;                         /* instances that the load asks for; 0: not yet known */
    uint32_t failures;                       /* in a row */
    uint64_t retry_ms;                       /* no start before */
    uint64_t crowded_ms, quiet_ms, ready_ms; /* since when; 0: it is not so */
    uint64_t looked_ms, woken_ms;            /* when it was asked last; and after a pause. 0: never */
    uint32_t random;                         /* not 0 */
} machine;

typedef enum machine_act {
    MACHINE_START,          /* an instance of the wished generation */
    MACHINE_ATTACH,         /* to the gateway */
    MACHINE_DRAIN,          /* no new requests to it */
    MACHINE_STOP,           /* a polite end */
    MACHINE_KILL,           /* it has had its time; if it is not stopping, that is a failure */
    MACHINE_FORGET,         /* its process is gone: so go its files and its reservation, unless kept is true */
    MACHINE_GIVE_UP,        /* the service has failed, or its update whose service had died */
    MACHINE_GIVE_UP_UPDATE, /* its new generation has: what was wished for before is wished for again */
    MACHINE_SUSPEND,        /* nobody has asked for long */
    MACHINE_REMOVE          /* the service is deleted and has no instance left */
} machine_act;

typedef struct machine_action {
    machine_act act;
    uint32_t instance; /* index in the view, of those that are about one */
    bool kept;         /* FORGET: the reservation is for the instance that takes its place */
} machine_action;

enum { MACHINE_ACTIONS_MAX = 2 * SERVICE_INSTANCES_MAX + 4 };

typedef struct machine_answer {
    service_state state; /* LOADING also while it starts again after a failure, and while it resumes */
    machine_action actions[MACHINE_ACTIONS_MAX];
    uint32_t count;
} machine_answer;

/* At most SERVICE_INSTANCES_MAX instances and one that takes over. */
void machine_step(machine *machine, const machine_view *view, machine_answer *ret_answer);

#endif
