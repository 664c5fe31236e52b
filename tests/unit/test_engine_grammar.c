/* test_engine_grammar.c: requests with grammars from several clients at once: more grammars than are kept, several
 * choices, too few pages, cancels while one compiles, and clients that leave with requests open.
 *
 * What a grammar allows is test_grammar.c's; here every answer must be whole, or have been cut, cancelled or refused.
 */
#include "engine_bench.h"

#include <poll.h>
#include <string.h>

enum { CLIENTS = 3, TURNS = 60, KINDS = 3 * GRAMMARS_KEPT_MAX / 2, LENGTH_MAX = 24 };

typedef struct user {
    bench *bench;
    uint64_t dice;
    uint32_t whole, cut, cancelled, refused;
} user;

static uint32_t roll(user *user, uint32_t sides)
{
    user->dice = user->dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(user->dice >> 33) % sides;
}

/* The length of answers of a kind; kinds 0, 7, 14... are no grammars. */
static uint32_t length_of(uint32_t kind)
{
    return 1 + kind % LENGTH_MAX;
}

static void write_grammar(uint32_t kind, char text[64])
{
    snprintf(text, 64, kind % 7 == 0 ? "(a{%u}" : kind % 2 ? "[a-f]{%u}x" : "[b-g]{%u}x", length_of(kind));
}

static void check_choice(user *user, const answer_choice *choice, uint32_t kind)
{
    size_t n = strspn(choice->text, kind % 2 ? "abcdef" : "bcdefg");

    assert_true(n <= length_of(kind));
    if (choice->finish == TN_FINISH_LENGTH) {
        assert_int_equal(choice->text_bytes, n);
        user->cut++;
        return;
    }
    assert_int_equal(choice->finish, TN_FINISH_STOP);
    assert_int_equal(n, length_of(kind));
    assert_string_equal(choice->text + n, "x");
    user->whole++;
}

static void take_events(tn_client *client, answer *answer)
{
    struct pollfd wait = {.fd = engine_table.event_fd(client), .events = POLLIN};
    tn_event events[4];

    if (poll(&wait, 1, 60000) != 1)
        fail_msg("no event for 60 s");
    events[0].struct_size = sizeof events[0];
    uint32_t got = engine_table.poll(client, events, sizeof events[0], 4);
    for (uint32_t i = 0; i < got; i++)
        if (events[i].request == answer->id)
            answer_take(answer, &events[i]);
}

static void ask(user *user, tn_client *client, bool leaves)
{
    uint32_t kind = roll(user, KINDS), choices = 1 + roll(user, 3);
    char text[64];
    int32_t prompt[40];
    answer *answer = answer_create();
    tn_error error = TN_ERROR_INIT;

    write_grammar(kind, text);
    make_prompt(prompt, 40, roll(user, 3));
    tn_request request = make_request(prompt, 1 + roll(user, 40), roll(user, 3) == 0 ? 5 : 60);
    request.temperature = 1;
    request.n_choices = choices;
    request.flags = roll(user, 2) ? TN_REQ_IGNORE_EOS : 0;
    request.grammar_kind = TN_GRAMMAR_REGEX;
    request.grammar = text;
    request.grammar_bytes = (uint32_t)strlen(text);
    if (engine_table.submit(client, &request, &answer->id, &error) != TN_OK)
        fail_msg("submit: %s", error.msg);
    bool cancels = !leaves && roll(user, 4) == 0;
    if (cancels)
        engine_table.cancel(client, answer->id);
    while (!leaves && !answer->done)
        take_events(client, answer);
    if (!leaves && answer->status == TN_E_ARGUMENT) {
        assert_int_equal(kind % 7, 0);
        assert_non_null(strstr(answer->error, "not closed"));
        user->refused++;
    } else if (!leaves && answer->status == TN_E_CANCELLED) {
        assert_true(cancels);
        user->cancelled++;
    } else if (!leaves) {
        assert_int_equal(answer->status, TN_OK);
        for (uint32_t i = 0; i < choices; i++)
            check_choice(user, &answer->choice[i], kind);
    }
    free(answer);
}

static void *live(void *argument)
{
    user *user = argument;
    tn_client *client;

    assert_int_equal(engine_table.client_open(user->bench->engine, 8, &client, NULL), TN_OK);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        bool leaves = roll(user, 8) == 0;
        ask(user, client, leaves);
        if (leaves) {
            engine_table.client_close(client);
            assert_int_equal(engine_table.client_open(user->bench->engine, 8, &client, NULL), TN_OK);
        }
    }
    engine_table.client_close(client);
    return NULL;
}

static void test_clients_with_grammars(void **state)
{
    bench bench = bench_defaults();
    user users[CLIENTS], sum = {0};
    pthread_t threads[CLIENTS];

    (void)state;
    bench.config.max_choices = 3;
    bench.config.max_num_seqs = 6;
    bench.pages[0] = 14;
    bench.config.max_model_len = 160;
    bench_start(&bench);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        users[i] = (user){.bench = &bench, .dice = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, live, &users[i]), 0);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        sum.whole += users[i].whole;
        sum.cut += users[i].cut;
        sum.refused += users[i].refused;
    }
    assert_true(sum.whole > 0 && sum.cut > 0 && sum.refused > 0);
    bench_stop(&bench);
}

/* Each alone is fine; what they leave between them is the client's mistake, not the engine's. */
static void test_allowed_tokens_that_the_grammar_forbids_are_the_clients_mistake(void **state)
{
    static const char text[] = "abx";
    const int32_t allowed[] = {FAKE_BYTE + 'a', FAKE_BYTE + 'c', FAKE_BYTE + 'x'};
    bench bench = bench_defaults();
    answer *answer = answer_create();
    int32_t prompt[8];
    tn_error error = TN_ERROR_INIT;

    (void)state;
    bench_start(&bench);
    make_prompt(prompt, 8, 1);
    tn_request request = make_request(prompt, 8, 10);
    request.allowed = allowed;
    request.allowed_count = 3;
    request.grammar_kind = TN_GRAMMAR_REGEX;
    request.grammar = text;
    request.grammar_bytes = sizeof text - 1;
    assert_int_equal(engine_table.submit(bench.client, &request, &answer->id, &error), TN_OK);
    while (!answer->done)
        take_events(bench.client, answer);
    assert_int_equal(answer->choice[0].count, 1);
    assert_int_equal(answer->choice[0].finish, TN_FINISH_ERROR);
    assert_int_equal(answer->status, TN_E_ARGUMENT);
    assert_non_null(strstr(answer->error, "none of the allowed tokens"));
    free(answer);
    bench_stop(&bench);
}

enum { LARGE_BYTES = 60000 }; /* a text as a grammar takes 24 bytes for each of its own */

/* Submits a request for a long text, another one for each number. */
static void submit_large(tn_client *client, uint32_t number, uint64_t *ret_id)
{
    static char text[LARGE_BYTES + 1];
    int32_t prompt[8];
    tn_error error = TN_ERROR_INIT;

    memset(text, 'a', LARGE_BYTES);
    snprintf(text + LARGE_BYTES - 8, 9, "%06u\"]", number);
    memcpy(text, "[\"", 2);
    make_prompt(prompt, 8, number);
    tn_request request = make_request(prompt, 8, 2);
    request.grammar_kind = TN_GRAMMAR_CHOICE;
    request.grammar = text;
    request.grammar_bytes = LARGE_BYTES;
    if (engine_table.submit(client, &request, ret_id, &error) != TN_OK)
        fail_msg("submit: %s", error.msg);
}

static void test_grammars_in_use_are_bounded(void **state)
{
    enum { REQUESTS = GRAMMARS_BYTES_MAX / (20 * LARGE_BYTES) };
    bench bench = bench_defaults();
    tn_client *holder;
    answer *refused = answer_create(), *taken = answer_create();
    uint64_t id;

    (void)state;
    bench.config.max_waiting = 256; /* which grants memory to so many requests */
    bench_start(&bench);
    assert_int_equal(engine_table.client_open(bench.engine, 8, &holder, NULL), TN_OK);
    for (uint32_t i = 0; i < REQUESTS; i++) /* none is polled, so all are there until the client leaves */
        submit_large(holder, i, &id);
    submit_large(bench.client, REQUESTS, &refused->id);
    while (!refused->done) /* behind all others */
        take_events(bench.client, refused);
    assert_int_equal(refused->status, TN_E_AGAIN);
    assert_non_null(strstr(refused->error, "take all of the 32 MiB"));
    assert_true(atomic_load(&bench.engine->desk.bytes) <= GRAMMARS_BYTES_MAX);

    engine_table.client_close(holder);
    submit_large(bench.client, REQUESTS, &taken->id);
    while (!taken->done)
        take_events(bench.client, taken);
    assert_int_equal(taken->status, TN_OK);
    assert_int_equal(taken->choice[0].finish, TN_FINISH_LENGTH);
    free(refused);
    free(taken);
    bench_stop(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_with_grammars),
        cmocka_unit_test(test_allowed_tokens_that_the_grammar_forbids_are_the_clients_mistake),
        cmocka_unit_test(test_grammars_in_use_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
