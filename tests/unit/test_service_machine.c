/* test_service_machine.c: what is to be done for a service, on a table of pretended processes and a clock of the
 * test's.
 *
 * A small world does at once what the machine asks for, unless a test holds it back; `run` lets time pass by steps of
 * 100 ms and keeps the promises that hold whatever happens.
 */
#include "cmocka_test.h"

#include "service/machine.h"

#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 100, LOAD_MS = 500, DRAIN_MS = 300, WORLD_MAX = SERVICE_INSTANCES_MAX + 1 };

typedef struct world {
    machine machine;
    machine_view view;
    machine_instance instances[WORLD_MAX];
    bool hung[WORLD_MAX];
    service_state state;
    uint32_t starts, kills, kept; /* ever; kept: reservations that wait for an instance */
    bool crashes;                 /* whatever starts dies before it is ready */
    bool hopeless, removed, mute; /* mute: what is stopped does not end */
    uint32_t generation_last, generation_before;
    uint32_t dropped; /* instances that were stopped with requests on them */
} world;

static world world_of(uint32_t min, uint32_t max)
{
    return (world){
        .machine = {.random = 1},
        .view = {.now_ms = 1000,
                 .limits =
                     {.start_ms = 20000, .hang_ms = 5000, .drain_ms = 10000, .stop_ms = 3000, .restart_delay_ms = 1000},
                 .min = min,
                 .max = max,
                 .generation = 1,
                 .drain_ms = 10000,
                 .slots = 4}};
}

static void put_phase(world *w, uint32_t i, instance_phase phase)
{
    w->instances[i].phase = phase;
    w->instances[i].since_ms = w->instances[i].heard_ms = w->view.now_ms;
}

static void act(world *w, const machine_action *action)
{
    machine_instance *instance = &w->instances[action->instance];
    switch (action->act) {
    case MACHINE_START:
        assert_true(w->view.count < WORLD_MAX);
        w->kept -= w->kept > 0;
        w->starts++;
        w->instances[w->view.count] = (machine_instance){.generation = w->view.generation};
        w->hung[w->view.count] = false;
        put_phase(w, w->view.count++, INSTANCE_LOADING);
        break;
    case MACHINE_ATTACH:
        assert_int_equal(instance->phase, INSTANCE_LOADING);
        put_phase(w, action->instance, INSTANCE_READY);
        break;
    case MACHINE_DRAIN:
        assert_int_equal(instance->phase, INSTANCE_READY);
        put_phase(w, action->instance, INSTANCE_DRAINING);
        break;
    case MACHINE_STOP:
        w->dropped += instance->phase == INSTANCE_DRAINING && instance->running > 0;
        assert_true(instance->phase == INSTANCE_LOADING || instance->phase == INSTANCE_DRAINING);
        put_phase(w, action->instance, INSTANCE_STOPPING);
        instance->exited = !w->mute;
        break;
    case MACHINE_KILL:
        w->kills++;
        instance->exited = true;
        break;
    case MACHINE_FORGET:
        assert_true(instance->exited);
        w->kept += action->kept;
        break;
    case MACHINE_GIVE_UP:
        w->view.failed = true;
        w->kept = 0;
        break;
    case MACHINE_GIVE_UP_UPDATE:
        assert_true(w->generation_before > 0);
        w->view.generation = w->generation_before;
        w->view.update_failed = true;
        w->kept = 0;
        break;
    case MACHINE_SUSPEND:
        w->view.suspended = true;
        break;
    case MACHINE_REMOVE:
        assert_int_equal(w->view.count, 0);
        w->removed = true;
        break;
    }
}

static void drop_exited(world *w, const machine_answer *answer)
{
    bool gone[WORLD_MAX] = {false};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < answer->count; i++)
        if (answer->actions[i].act == MACHINE_FORGET)
            gone[answer->actions[i].instance] = true;
    for (uint32_t i = 0; i < w->view.count; i++) {
        if (gone[i])
            continue;
        w->hung[kept] = w->hung[i];
        w->instances[kept++] = w->instances[i];
    }
    w->view.count = kept;
}

/* What runs is what came up last. */
static void update(world *w)
{
    w->generation_before = w->view.generation;
    for (uint32_t i = 0; i < w->view.count; i++)
        if (w->instances[i].generation < w->generation_before)
            w->generation_before = w->instances[i].generation;
    if (w->generation_last == 0)
        w->generation_last = w->view.generation;
    w->view.generation = ++w->generation_last;
    w->view.update_failed = false;
}

/* What processes do by themselves. */
static void let_live(world *w)
{
    for (uint32_t i = 0; i < w->view.count; i++) {
        machine_instance *instance = &w->instances[i];
        uint64_t age = w->view.now_ms - instance->since_ms;
        if (instance->exited)
            continue;
        if (instance->phase == INSTANCE_LOADING && age >= LOAD_MS) {
            instance->exited = w->crashes;
            instance->hopeless = w->crashes && w->hopeless;
            instance->answers = !w->crashes && !w->hung[i];
        }
        if (instance->phase == INSTANCE_READY && !w->hung[i])
            instance->heard_ms = w->view.now_ms;
        if (instance->phase == INSTANCE_DRAINING && age >= DRAIN_MS && !w->hung[i])
            instance->running = 0;
    }
}

static void step(world *w)
{
    machine_answer answer;
    let_live(w);
    w->view.instances = w->instances;
    machine_step(&w->machine, &w->view, &answer);
    for (uint32_t i = 0; i < answer.count && !w->removed; i++)
        act(w, &answer.actions[i]);
    drop_exited(w, &answer);
    w->state = answer.state;
    w->view.now_ms += STEP_MS;
}

static void run(world *w, uint64_t ms)
{
    for (uint64_t end = w->view.now_ms + ms; w->view.now_ms < end && !w->removed;)
        step(w);
}

static uint32_t count(const world *w, instance_phase phase, uint32_t generation)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < w->view.count; i++)
        found += w->instances[i].phase == phase && (!generation || w->instances[i].generation == generation);
    return found;
}

/* ---- life ---- */

static void test_starts_and_is_ready(void **state)
{
    (void)state;
    world w = world_of(2, 3);
    step(&w);
    step(&w);
    assert_int_equal(w.state, SERVICE_LOADING);
    run(&w, 2000);
    assert_int_equal(w.state, SERVICE_READY);
    assert_int_equal(count(&w, INSTANCE_READY, 1), 2);
    assert_int_equal(w.starts, 2);
}

static void test_none_wished_for_is_one_until_suspended(void **state)
{
    (void)state;
    world w = world_of(0, 1);
    run(&w, 2000);
    assert_int_equal(w.state, SERVICE_READY);
    w.view.suspended = true;
    w.instances[0].running = 3;
    step(&w);
    step(&w);
    assert_int_equal(w.state, SERVICE_SUSPENDING);
    assert_int_equal(count(&w, INSTANCE_DRAINING, 0), 1);
    run(&w, 2000);
    assert_int_equal(w.state, SERVICE_SUSPENDED);
    assert_int_equal(w.view.count, 0);
    assert_int_equal(w.dropped, 0);
    w.view.suspended = false;
    run(&w, 2000);
    assert_int_equal(w.state, SERVICE_READY);
}

static void test_suspended_while_it_loads(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    run(&w, 200);
    w.view.suspended = true;
    run(&w, 500);
    assert_int_equal(w.state, SERVICE_SUSPENDED);
    assert_int_equal(w.machine.failures, 0);
}

static void test_idle_suspends(void **state)
{
    (void)state;
    world w = world_of(0, 1);
    w.view.autosuspend_ms = 5000;
    w.view.idle_ms = 60000; /* nobody asked before it was there either */
    run(&w, 4000);
    assert_int_equal(w.state, SERVICE_READY);
    run(&w, 5000);
    assert_int_equal(w.state, SERVICE_SUSPENDED);

    world busy = world_of(0, 1);
    busy.view.autosuspend_ms = 5000;
    busy.view.running = 1;
    run(&busy, 60000);
    assert_int_equal(busy.state, SERVICE_READY);

    world wanted = world_of(1, 1);
    wanted.view.autosuspend_ms = 5000;
    wanted.view.idle_ms = 60000;
    run(&wanted, 60000);
    assert_int_equal(wanted.state, SERVICE_READY);
}

static void test_deleted(void **state)
{
    (void)state;
    world w = world_of(2, 2);
    run(&w, 2000);
    w.view.deleting = true;
    w.instances[0].running = 1;
    step(&w);
    step(&w);
    assert_int_equal(w.state, SERVICE_DELETING);
    assert_false(w.removed);
    run(&w, 5000);
    assert_true(w.removed);
    assert_int_equal(w.dropped, 0);
}

static void test_drains_no_longer_than_asked(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    run(&w, 2000);
    w.instances[0].running = 1;
    w.hung[0] = true;
    w.view.deleting = true;
    w.view.drain_ms = 2000;
    run(&w, 1500);
    assert_int_equal(count(&w, INSTANCE_DRAINING, 0), 1);
    run(&w, 1500);
    assert_true(w.removed);
    assert_int_equal(w.dropped, 1);
}

static void test_what_does_not_stop_is_killed(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    w.mute = true;
    run(&w, 2000);
    w.view.suspended = true;
    run(&w, 2500);
    assert_int_equal(w.kills, 0);
    run(&w, 2500);
    assert_int_equal(w.kills, 1);
    assert_int_equal(w.state, SERVICE_SUSPENDED);
}

/* ---- failures ---- */

static void test_dead_one_is_replaced_in_its_place(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    run(&w, 2000);
    w.instances[0].exited = true;
    step(&w);
    assert_int_equal(w.kept, 1);
    step(&w);
    assert_int_equal(w.state, SERVICE_LOADING);
    assert_int_equal(w.starts, 1); /* not at once */
    run(&w, 3000);
    assert_int_equal(w.state, SERVICE_READY);
    assert_int_equal(w.starts, 2);
    assert_int_equal(w.kept, 0);
}

static void test_five_failures_are_enough(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    w.crashes = true;
    run(&w, 1000);
    assert_int_equal(w.starts, 1);
    run(&w, 100000);
    assert_int_equal(w.starts, MACHINE_FAILURES_MAX);
    assert_int_equal(w.state, SERVICE_FAILED);
    assert_int_equal(w.kept, 0);
    run(&w, 100000);
    assert_int_equal(w.starts, MACHINE_FAILURES_MAX);

    w.view.failed = w.crashes = false; /* resumed */
    run(&w, 2000);
    assert_int_equal(w.state, SERVICE_READY);
}

/* One bad place among several is no reason to take away those that serve. */
static void test_one_that_serves_is_kept_whatever_others_do(void **state)
{
    (void)state;
    world w = world_of(2, 2);
    run(&w, MACHINE_STABLE_MS + 5000);
    assert_int_equal(w.state, SERVICE_READY);
    w.crashes = true;
    w.instances[1].exited = true;
    run(&w, 5 * MACHINE_DELAY_MAX_MS);
    assert_int_equal(w.state, SERVICE_DEGRADED);
    assert_int_equal(count(&w, INSTANCE_READY, 0), 1);
    assert_in_range(w.starts, 2 + MACHINE_FAILURES_MAX, 2 + MACHINE_FAILURES_MAX + 5); /* one a minute in the end */
    w.crashes = false;
    run(&w, 2 * MACHINE_DELAY_MAX_MS);
    assert_int_equal(w.state, SERVICE_READY);
    assert_int_equal(count(&w, INSTANCE_READY, 0), 2);
}

/* 1, 2, 4 and 8 seconds, give or take a quarter; and not the same for two services. */
static void test_backs_off_with_jitter(void **state)
{
    (void)state;
    uint64_t ends[2];
    for (uint32_t seed = 0; seed < 2; seed++) {
        world w = world_of(1, 1);
        uint64_t begin = w.view.now_ms, last = 0;
        w.machine.random = 77 + seed;
        w.crashes = true;
        for (uint32_t failures = 1; failures < MACHINE_FAILURES_MAX; failures++) {
            while (w.machine.failures < failures)
                step(&w);
            last = w.machine.retry_ms - (w.view.now_ms - STEP_MS);
            assert_in_range(last, 750u << (failures - 1), 1250u << (failures - 1));
        }
        ends[seed] = w.machine.retry_ms - begin;
    }
    assert_int_not_equal(ends[0], ends[1]);
}

static void test_hopeless_is_not_tried_again(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    w.crashes = w.hopeless = true;
    run(&w, 10000);
    assert_int_equal(w.starts, 1);
    assert_int_equal(w.state, SERVICE_FAILED);
}

static void test_a_stable_one_ends_a_row_of_failures(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    for (int i = 0; i < 3 * MACHINE_FAILURES_MAX; i++) {
        run(&w, MACHINE_STABLE_MS + 5000);
        assert_int_equal(w.state, SERVICE_READY);
        w.instances[0].exited = true;
    }
    for (int i = 0; i < MACHINE_FAILURES_MAX; i++) { /* each of them ready, but not for long */
        for (int tries = 0; tries < 1000 && (w.view.count == 0 || w.instances[0].phase != INSTANCE_READY); tries++)
            step(&w);
        w.instances[0].exited = true;
        step(&w);
    }
    step(&w);
    assert_int_equal(w.state, SERVICE_FAILED);
}

static void test_hung_one_is_killed(void **state)
{
    (void)state;
    world w = world_of(2, 2);
    run(&w, 3000);
    w.hung[0] = true;
    run(&w, 4000);
    assert_int_equal(w.state, SERVICE_DEGRADED);
    assert_int_equal(w.kills, 0);
    run(&w, 2000);
    assert_int_equal(w.kills, 1);
    run(&w, 5000);
    assert_int_equal(w.state, SERVICE_READY);
    assert_int_equal(w.starts, 3);
}

/* A daemon that was stopped, by SIGSTOP or with its machine, has heard from nobody meanwhile: no instance hangs for
 * that. One that goes on saying nothing does. */
static void test_after_a_pause_all_get_their_time_anew(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    run(&w, 3000);
    w.view.now_ms += 3600 * 1000;
    w.hung[0] = true; /* its answer is on its way */
    step(&w);
    assert_int_equal(w.state, SERVICE_READY);
    w.hung[0] = false;
    run(&w, 8000);
    assert_int_equal(w.state, SERVICE_READY);
    assert_int_equal(w.kills, 0);
    w.view.now_ms += 3600 * 1000;
    w.hung[0] = true;
    run(&w, 4500);
    assert_int_equal(w.kills, 0);
    run(&w, 1000);
    assert_int_equal(w.kills, 1);
}

static void test_one_that_never_loads_is_killed(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    step(&w);
    w.hung[0] = true;
    run(&w, 19000);
    assert_int_equal(w.kills, 0);
    run(&w, 2000);
    assert_int_equal(w.kills, 1);
    assert_int_equal(w.machine.failures, 1);
}

/* ---- updates ---- */

static void test_update_is_one_beside(void **state)
{
    (void)state;
    world w = world_of(3, 3);
    run(&w, 5000);
    update(&w);
    for (int i = 0; i < 100; i++) {
        for (uint32_t j = 0; j < w.view.count; j++)
            if (w.instances[j].phase == INSTANCE_READY)
                w.instances[j].running = 1;
        step(&w);
        assert_true(count(&w, INSTANCE_READY, 0) >= 3);
        assert_true(count(&w, INSTANCE_READY, 0) + count(&w, INSTANCE_LOADING, 0) <= 4);
        assert_int_equal(w.state, SERVICE_READY);
    }
    assert_int_equal(count(&w, INSTANCE_READY, 2), 3);
    assert_int_equal(w.view.count, 3);
    assert_int_equal(w.dropped, 0);
}

static void test_failed_update_keeps_what_was(void **state)
{
    (void)state;
    world w = world_of(1, 1);
    run(&w, 2000);
    update(&w);
    w.crashes = true;
    run(&w, 100000);
    assert_true(w.view.update_failed);
    assert_int_equal(w.state, SERVICE_DEGRADED);
    assert_int_equal(count(&w, INSTANCE_READY, 1), 1);
    assert_int_equal(w.view.count, 1);
    assert_int_equal(w.starts, 1 + MACHINE_FAILURES_MAX);

    update(&w);
    w.crashes = false;
    run(&w, 5000);
    assert_int_equal(w.state, SERVICE_READY);
    assert_int_equal(count(&w, INSTANCE_READY, 3), 1);

    update(&w);
    w.crashes = true;
    run(&w, 100000);
    assert_true(w.view.update_failed);
    w.crashes = false;
    w.instances[0].exited = true; /* what was before is started again, as ever */
    run(&w, 5000);
    assert_int_equal(count(&w, INSTANCE_READY, 3), 1);
    assert_int_equal(w.state, SERVICE_DEGRADED);
}

/* ---- load ---- */

static void test_scales_with_load(void **state)
{
    (void)state;
    world w = world_of(1, 3);
    run(&w, 2000);
    w.view.running = 5; /* of 4 slots */
    run(&w, MACHINE_CROWDED_MS - 1000);
    assert_int_equal(w.view.count, 1);
    run(&w, 4000);
    assert_int_equal(count(&w, INSTANCE_READY, 0), 2);
    w.view.running = 100;
    run(&w, 60000);
    assert_int_equal(w.view.count, 3); /* and no more */
    w.view.running = 4;                /* half of two */
    run(&w, MACHINE_QUIET_MS - 10000);
    assert_int_equal(w.view.count, 3);
    run(&w, 20000);
    assert_int_equal(w.view.count, 2);
    run(&w, 2 * MACHINE_QUIET_MS);
    assert_int_equal(w.view.count, 2); /* 4 is more than half of one */
    w.view.running = 0;
    run(&w, MACHINE_QUIET_MS + 10000);
    assert_int_equal(w.view.count, 1);
}

static void test_max_lowered_sends_away(void **state)
{
    (void)state;
    world w = world_of(3, 3);
    run(&w, 5000);
    w.view.min = w.view.max = 1;
    run(&w, 3000);
    assert_int_equal(w.view.count, 1);
    assert_int_equal(w.state, SERVICE_READY);
}

/* Whatever is wished for and dies, in whatever order: never more than one beside the wished number, and in the end what
 * was wished for. */
static void test_any_order(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 200; round++) {
        world w = world_of(1, 3);
        w.machine.random = (uint32_t)round + 1;
        for (int i = 0; i < 300; i++) {
            int dice = rand() % 20;
            if (dice == 0)
                w.view.suspended = !w.view.suspended;
            else if (dice == 1)
                update(&w), w.view.failed = false;
            else if (dice == 2)
                w.view.min = (uint32_t)rand() % 4, w.view.max = w.view.min > 1 ? w.view.min : 1 + (uint32_t)rand() % 3;
            else if (dice == 3 && w.view.count)
                w.instances[(uint32_t)rand() % w.view.count].exited = true;
            else if (dice == 4 && w.view.count)
                w.hung[(uint32_t)rand() % w.view.count] = true;
            else if (dice == 5)
                w.crashes = !w.crashes;
            run(&w, (uint64_t)(rand() % 10) * STEP_MS);
            assert_true(count(&w, INSTANCE_LOADING, 0) + count(&w, INSTANCE_READY, 0) <= 4);
        }
        w.crashes = w.view.suspended = w.view.failed = w.view.update_failed = false;
        memset(w.hung, 0, sizeof w.hung);
        run(&w, 200000);
        assert_int_equal(w.state, SERVICE_READY);
        assert_int_equal(count(&w, INSTANCE_READY, w.view.generation), w.view.count);
        w.view.deleting = true;
        run(&w, 60000);
        assert_true(w.removed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_and_is_ready),
        cmocka_unit_test(test_none_wished_for_is_one_until_suspended),
        cmocka_unit_test(test_suspended_while_it_loads),
        cmocka_unit_test(test_idle_suspends),
        cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_drains_no_longer_than_asked),
        cmocka_unit_test(test_what_does_not_stop_is_killed),
        cmocka_unit_test(test_dead_one_is_replaced_in_its_place),
        cmocka_unit_test(test_five_failures_are_enough),
        cmocka_unit_test(test_one_that_serves_is_kept_whatever_others_do),
        cmocka_unit_test(test_backs_off_with_jitter),
        cmocka_unit_test(test_hopeless_is_not_tried_again),
        cmocka_unit_test(test_a_stable_one_ends_a_row_of_failures),
        cmocka_unit_test(test_hung_one_is_killed),
        cmocka_unit_test(test_after_a_pause_all_get_their_time_anew),
        cmocka_unit_test(test_one_that_never_loads_is_killed),
        cmocka_unit_test(test_update_is_one_beside),
        cmocka_unit_test(test_failed_update_keeps_what_was),
        cmocka_unit_test(test_scales_with_load),
        cmocka_unit_test(test_max_lowered_sends_away),
        cmocka_unit_test(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
