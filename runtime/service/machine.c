/* machine.c: see machine.h. */
#include "service/machine.h"

typedef struct tally {
    uint32_t fresh, fresh_ready; /* of the wished generation, loading or ready */
    uint32_t stale, stale_ready; /* of one before */
    uint32_t present;            /* in whatever phase */
} tally;

static void want(machine_answer *answer, machine_act act, uint32_t instance)
{
    TN_ASSERT(answer->count < MACHINE_ACTIONS_MAX);
    answer->actions[answer->count++] = (machine_action){.act = act, .instance = instance};
}

static bool is_live(const machine_instance *instance)
{
    return !instance->exited && (instance->phase == INSTANCE_LOADING || instance->phase == INSTANCE_READY);
}

/* Whoever asks was stopped for a while, and heard nobody: from then on instances get their time anew. */
static void note_pause(machine *machine, uint64_t now_ms)
{
    if (machine->looked_ms && now_ms - machine->looked_ms >= MACHINE_PAUSE_MS)
        machine->woken_ms = now_ms;
    machine->looked_ms = now_ms;
}

static uint64_t silent_ms(const machine *machine, const machine_view *view, const machine_instance *instance)
{
    uint64_t since_ms = instance->heard_ms > machine->woken_ms ? instance->heard_ms : machine->woken_ms;
    return view->now_ms - since_ms;
}

/* Up and heard from: one that hangs is not counted on. */
static bool is_well(const machine *machine, const machine_view *view, const machine_instance *instance)
{
    return is_live(instance) && instance->phase == INSTANCE_READY &&
           silent_ms(machine, view, instance) < view->limits.hang_ms / 2;
}

static tally count_instances(const machine *machine, const machine_view *view)
{
    tally tally = {0};
    for (uint32_t i = 0; i < view->count; i++) {
        const machine_instance *instance = &view->instances[i];
        bool fresh = instance->generation == view->generation;
        tally.present++;
        if (!is_live(instance))
            continue;
        *(fresh ? &tally.fresh : &tally.stale) += 1;
        *(fresh ? &tally.fresh_ready : &tally.stale_ready) += is_well(machine, view, instance);
    }
    return tally;
}

/* ---- those that are gone ---- */

static uint32_t next_random(machine *machine)
{
    TN_ASSERT(machine->random);
    machine->random ^= machine->random << 13;
    machine->random ^= machine->random >> 17;
    machine->random ^= machine->random << 5;
    return machine->random;
}

/* Twice as long each time, give or take a quarter, so that services that died together do not start together. */
static uint64_t delay_ms(machine *machine, const machine_limits *limits)
{
    uint64_t delay = limits->restart_delay_ms << (machine->failures - 1);
    if (delay > MACHINE_DELAY_MAX_MS)
        delay = limits->restart_delay_ms > MACHINE_DELAY_MAX_MS ? limits->restart_delay_ms : MACHINE_DELAY_MAX_MS;
    return delay - delay / 4 + next_random(machine) % (delay / 2 + 1);
}

static void count_failure(machine *machine, const machine_view *view, const machine_instance *instance)
{
    if (instance->phase == INSTANCE_READY && view->now_ms - instance->since_ms >= MACHINE_STABLE_MS)
        machine->failures = 0;
    machine->failures = instance->hopeless ? MACHINE_FAILURES_MAX : machine->failures + 1;
    if (machine->failures < MACHINE_FAILURES_MAX)
        machine->retry_ms = view->now_ms + delay_ms(machine, &view->limits);
}

/* Whether one of those wished for last has served for so long that the fault is not theirs all. */
static bool has_stable(const machine *machine, const machine_view *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const machine_instance *instance = &view->instances[i];
        if (instance->generation == view->generation && is_well(machine, view, instance) &&
            view->now_ms - instance->since_ms >= MACHINE_STABLE_MS)
            return true;
    }
    return false;
}

/* Whether the service has instances at all. */
static bool wants_any(const machine_view *view)
{
    return !view->suspended && !view->deleting && !view->failed;
}

/* A service that wants instances keeps the place of one that died; those that were sent away leave none. */
static void forget_exited(machine *machine, const machine_view *view, machine_answer *answer)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const machine_instance *instance = &view->instances[i];
        bool died = instance->phase == INSTANCE_LOADING || instance->phase == INSTANCE_READY;
        if (!instance->exited)
            continue;
        want(answer, MACHINE_FORGET, i);
        answer->actions[answer->count - 1].kept = died && wants_any(view) && instance->generation == view->generation;
        if (died && wants_any(view))
            count_failure(machine, view, instance);
    }
}

/* ---- how many ---- */

static uint32_t least(const machine_view *view)
{
    return view->min ? view->min : 1;
}

/* Whether something has been so for a while. */
static bool lasts(bool is_so, uint64_t *since_ms, uint64_t now_ms, uint64_t for_ms)
{
    if (!is_so) {
        *since_ms = 0;
        return false;
    }
    if (*since_ms == 0)
        *since_ms = now_ms;
    return now_ms - *since_ms >= for_ms;
}

static void scale(machine *machine, const machine_view *view, const tally *tally)
{
    uint64_t load = (uint64_t)view->running + view->waiting, slots = view->slots ? view->slots : 1;
    bool settled = tally->fresh_ready >= machine->target && tally->stale == 0;
    bool crowded = settled && machine->target < view->max && load > machine->target * slots;
    bool quiet = settled && machine->target > least(view) && load <= (machine->target - 1) * slots / 2;

    if (lasts(crowded, &machine->crowded_ms, view->now_ms, MACHINE_CROWDED_MS)) {
        machine->target++;
        machine->crowded_ms = 0;
    }
    if (lasts(quiet, &machine->quiet_ms, view->now_ms, MACHINE_QUIET_MS)) {
        machine->target--;
        machine->quiet_ms = 0;
    }
}

static uint32_t desired(machine *machine, const machine_view *view, const tally *tally)
{
    if (!wants_any(view)) {
        machine->target = 0;
        return 0;
    }
    if (machine->target < least(view))
        machine->target = tally->fresh > least(view) ? tally->fresh : least(view);
    if (machine->target > view->max)
        machine->target = view->max;
    scale(machine, view, tally);
    return machine->target;
}

/* ---- each instance ---- */

static void watch(const machine *machine, const machine_view *view, uint32_t index, machine_answer *answer)
{
    const machine_instance *instance = &view->instances[index];
    const machine_limits *limits = &view->limits;
    uint64_t age = view->now_ms - instance->since_ms;
    uint64_t drain = wants_any(view) ? limits->drain_ms : view->drain_ms;

    switch (instance->phase) {
    case INSTANCE_LOADING:
        if (age >= limits->start_ms)
            want(answer, MACHINE_KILL, index);
        else if (instance->answers)
            want(answer, MACHINE_ATTACH, index);
        break;
    case INSTANCE_READY:
        if (silent_ms(machine, view, instance) >= limits->hang_ms)
            want(answer, MACHINE_KILL, index);
        break;
    case INSTANCE_DRAINING:
        if (instance->running == 0 || age >= drain)
            want(answer, MACHINE_STOP, index);
        break;
    case INSTANCE_STOPPING:
        if (age >= limits->stop_ms)
            want(answer, MACHINE_KILL, index);
        break;
    }
}

/* Sends `surplus` live instances of one kind away: those that load first, then the newest. */
static void send_away(const machine_view *view, bool fresh, uint32_t surplus, machine_answer *answer)
{
    for (int loading = 1; loading >= 0; loading--) {
        for (uint32_t i = view->count; i-- > 0 && surplus > 0;) {
            const machine_instance *instance = &view->instances[i];
            if (!is_live(instance) || (instance->generation == view->generation) != fresh ||
                (instance->phase == INSTANCE_LOADING) != loading)
                continue;
            want(answer, loading ? MACHINE_STOP : MACHINE_DRAIN, i);
            surplus--;
        }
    }
}

static bool is_sent_away(const machine_answer *answer, uint32_t index)
{
    for (uint32_t i = 0; i < answer->count; i++)
        if (answer->actions[i].instance == index &&
            (answer->actions[i].act == MACHINE_STOP || answer->actions[i].act == MACHINE_DRAIN))
            return true;
    return false;
}

static uint32_t excess(uint32_t have, uint32_t need)
{
    return have > need ? have - need : 0;
}

/* One at a time beside those before it, which go as it takes their place. */
static void replace(const machine *machine, const machine_view *view, const tally *tally, uint32_t count,
                    machine_answer *answer)
{
    uint32_t surplus = excess(tally->fresh_ready + tally->stale, count);
    send_away(view, true, excess(tally->fresh, count), answer);
    send_away(view, false, surplus < tally->stale ? surplus : tally->stale, answer);
    if (tally->fresh < count && tally->fresh + tally->stale <= count && view->now_ms >= machine->retry_ms)
        want(answer, MACHINE_START, 0);
}

/* ---- the whole ---- */

static bool is_idle(machine *machine, const machine_view *view, const tally *tally)
{
    bool rests = tally->fresh_ready > 0 && tally->stale == 0 && view->running + view->waiting == 0;
    if (!lasts(rests, &machine->ready_ms, view->now_ms, view->autosuspend_ms))
        return false;
    return view->min == 0 && view->autosuspend_ms && view->idle_ms >= view->autosuspend_ms;
}

static service_state state_of(const machine_view *view, const tally *tally)
{
    uint32_t ready = tally->fresh_ready + tally->stale_ready;
    if (view->deleting)
        return SERVICE_DELETING;
    if (view->failed)
        return SERVICE_FAILED;
    if (view->suspended)
        return tally->present ? SERVICE_SUSPENDING : SERVICE_SUSPENDED;
    if (ready == 0)
        return SERVICE_LOADING;
    return ready >= least(view) && !view->update_failed ? SERVICE_READY : SERVICE_DEGRADED;
}

void machine_step(machine *machine, const machine_view *view, machine_answer *ret_answer)
{
    note_pause(machine, view->now_ms);
    tally tally = count_instances(machine, view);
    ret_answer->count = 0;
    ret_answer->state = state_of(view, &tally);

    forget_exited(machine, view, ret_answer);
    if (!wants_any(view)) {
        machine->failures = 0;
        machine->retry_ms = 0;
    } else if (machine->failures >= MACHINE_FAILURES_MAX && has_stable(machine, view)) {
        machine->failures = MACHINE_FAILURES_MAX - 1; /* one more is tried now and then */
        machine->retry_ms = view->now_ms + MACHINE_DELAY_MAX_MS;
    } else if (machine->failures >= MACHINE_FAILURES_MAX) {
        want(ret_answer, tally.stale ? MACHINE_GIVE_UP_UPDATE : MACHINE_GIVE_UP, 0);
        machine->failures = 0;
        return;
    }
    replace(machine, view, &tally, desired(machine, view, &tally), ret_answer);
    for (uint32_t i = 0; i < view->count; i++)
        if (!view->instances[i].exited && !is_sent_away(ret_answer, i))
            watch(machine, view, i, ret_answer);
    if (wants_any(view) && is_idle(machine, view, &tally))
        want(ret_answer, MACHINE_SUSPEND, 0);
    if (view->deleting && tally.present == 0)
        want(ret_answer, MACHINE_REMOVE, 0);
}
