/* test_engine_stress.c: several clients at once, random requests, slow polls and cancels, on engines of random shape.
 *
 * Every answer that was not cancelled must be the expected one, every page must come back. Argument: number of engines.
 */
#include "engine_bench.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 4, TURNS = 30, OPEN_MAX = 6 };

typedef struct dice {
    uint64_t state;
} dice;

static uint32_t roll(dice *dice, uint32_t sides)
{
    dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice->state >> 33) % sides;
}

typedef struct user {
    bench *bench;
    tn_client *client;
    dice dice;
    bool lazy;
    uint32_t finished, cancelled, refused;
} user;

typedef struct task {
    tn_request request;
    int32_t prompt[256];
    answer *answer; /* NULL: unused */
    bool cancelled;
} task;

static void compose(user *user, task *task)
{
    dice *dice = &user->dice;
    uint32_t n = 1 + roll(dice, roll(dice, 2) ? 40 : 250);
    /* Few distinct prompts, so that prefixes are shared between clients. */
    make_prompt(task->prompt, n, roll(dice, 3));
    tn_request request = make_request(task->prompt, n, 1 + roll(dice, 80));
    request.priority = (int32_t)roll(dice, 3) - 1;
    request.temperature = roll(dice, 2) ? 1.0f : 0.0f;
    request.n_choices = roll(dice, 5) == 0 ? 1 + roll(dice, 3) : 0;
    request.flags = (roll(dice, 2) ? TN_REQ_IGNORE_EOS : 0) | (roll(dice, 3) == 0 ? TN_REQ_LOGPROBS : 0) |
                    (roll(dice, 6) == 0 ? TN_REQ_PROMPT_LOGPROBS : 0) | (roll(dice, 6) == 0 ? TN_REQ_NO_CACHE : 0);
    request.repetition = roll(dice, 4) == 0 ? 1.2f : 0;
    request.min_new = roll(dice, 6) == 0 ? 1 : 0;
    request.cache_salt = roll(dice, 8) == 0 ? "salt" : NULL;
    request.top_logprobs = request.flags & TN_REQ_LOGPROBS ? roll(dice, 4) : 0;
    task->request = request;
    task->cancelled = false;
}

static void begin(user *user, task *task)
{
    tn_error error = TN_ERROR_INIT;
    uint64_t id;

    compose(user, task);
    tn_status status = engine_table.submit(user->client, &task->request, &id, &error);
    if (status == TN_E_AGAIN) {
        user->refused++;
        usleep(1000);
        return;
    }
    if (status != TN_OK)
        fail_msg("submit: %s", error.msg);
    task->answer = answer_create();
    task->answer->id = id;
}

static void end(user *user, task *task)
{
    if (task->answer->status == TN_E_CANCELLED) {
        assert_true(task->cancelled);
        user->cancelled++;
    } else {
        assert_expected(user->bench, &task->request, task->answer);
        user->finished++;
    }
    free(task->answer);
    task->answer = NULL;
}

static void read_events(user *user, task *tasks)
{
    tn_event events[8];
    struct pollfd wait = {.fd = engine_table.event_fd(user->client), .events = POLLIN};

    if (user->lazy && roll(&user->dice, 10) == 0)
        usleep(5000);
    if (poll(&wait, 1, 30000) != 1)
        fail_msg("no event for 30 s");
    events[0].struct_size = sizeof events[0];
    uint32_t got = engine_table.poll(user->client, events, sizeof events[0], 1 + roll(&user->dice, 8));
    for (uint32_t e = 0; e < got; e++)
        for (uint32_t t = 0; t < OPEN_MAX; t++)
            if (tasks[t].answer && tasks[t].answer->id == events[e].request) {
                answer_take(tasks[t].answer, &events[e]);
                if (events[e].kind == TN_EVENT_DONE)
                    end(user, &tasks[t]);
                break;
            }
}

static void *live(void *argument)
{
    user *user = argument;
    task *tasks = calloc(OPEN_MAX, sizeof *tasks);
    uint32_t begun = 0, open = 1;

    assert_non_null(tasks);
    while (begun < TURNS || open > 0) {
        task *task = &tasks[roll(&user->dice, OPEN_MAX)];
        if (!task->answer && begun < TURNS) {
            begin(user, task);
            begun += task->answer != NULL;
        } else if (task->answer && roll(&user->dice, 40) == 0) {
            task->cancelled = true;
            engine_table.cancel(user->client, task->answer->id); /* may be over already */
        }
        open = 0;
        for (uint32_t t = 0; t < OPEN_MAX; t++)
            open += tasks[t].answer != NULL;
        if (open > 0)
            read_events(user, tasks);
    }
    free(tasks);
    return NULL;
}

static void shape(bench *bench, dice *dice)
{
    static const tn_backend *const backends[] = {&fake_backend, &fake_backend_ahead, &fake_backend_no_copy};
    static const uint32_t pages_tokens[] = {4, 8, 16, 12};
    bench->backend = backends[roll(dice, 3)];
    bench->config.kv_group_count = 1 + roll(dice, 3);
    bench->config.max_num_seqs = 1 + roll(dice, 10);
    bench->config.max_choices = 3;
    bench->config.max_num_batched_tokens = bench->config.max_num_seqs + roll(dice, 100);
    bench->config.max_outputs = bench->config.max_num_seqs + roll(dice, 20);
    bench->config.max_waiting = 4 + roll(dice, 20);
    bench->config.enable_prefix_caching = roll(dice, 4) > 0;
    for (uint32_t g = 0; g < bench->config.kv_group_count; g++) {
        bench->page_tokens[g] = pages_tokens[roll(dice, 4)];
        bench->window[g] = roll(dice, 2) ? 0 : 10 + roll(dice, 60);
        bench->pages[g] = 360 / bench->page_tokens[g] + 2 + roll(dice, 40);
    }
}

static void run_engine(uint64_t seed)
{
    dice dice = {seed};
    bench bench = bench_defaults();
    user users[CLIENTS];
    pthread_t threads[CLIENTS];

    roll(&dice, 2);
    shape(&bench, &dice);
    bench_start(&bench);
    bench.model->in_engine_memory_limit = roll(&dice, 4) == 0 ? 20 : 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        tn_error error = TN_ERROR_INIT;
        users[i] = (user){.bench = &bench, .dice = {seed * 100 + i}, .lazy = i == 0};
        assert_int_equal(engine_table.client_open(bench.engine, 1 + roll(&dice, 40), &users[i].client, &error), TN_OK);
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live, &users[i]), 0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].finished + users[i].cancelled, TURNS);
        engine_table.client_close(users[i].client);
    }
    bench_stop(&bench);
}

static uint64_t engine_count = 8;

static void test_random_clients_get_the_right_answers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= engine_count; seed++)
        run_engine(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_clients_get_the_right_answers)};
    if (argc > 1)
        engine_count = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
