/* engine_bench.c: see engine_bench.h. */
#include "engine_bench.h"

#include "base/sampler.h"
#include "base/utf8.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

bench bench_defaults(void)
{
    bench bench = {
        .config = {.max_model_len = 512,
                   .max_num_seqs = 8,
                   .max_num_batched_tokens = 64,
                   .max_outputs = 16,
                   .max_waiting = 64,
                   .max_choices = 8,
                   .max_top_logprobs = 5,
                   .max_stop = 4,
                   .max_stop_bytes = 32,
                   .max_bias = 16,
                   .max_stop_tokens = 8,
                   .enable_prefix_caching = true,
                   .batch_invariant = true,
                   .seed = 42,
                   .kv_group_count = 1},
        .page_tokens = {16, 16, 16},
        .pages = {64, 64, 64},
        .backend = &fake_backend,
        .queue_cap = 4096,
    };
    return bench;
}

void bench_start(bench *bench)
{
    tn_error error = TN_ERROR_INIT;
    engine_config *config = &bench->config;

    config->page_tokens = bench->page_tokens;
    config->kv_pages = bench->pages;
    if (!bench->model)
        bench->model = fake_model_create(config->kv_group_count, bench->page_tokens, bench->window, bench->pages,
                                         config->max_num_seqs, config->max_num_batched_tokens, config->max_outputs,
                                         config->max_model_len);
    bench->graph_api = fake_graph_api_of(bench->model);
    tn_status status = engine_create(config, (const tn_graph *)bench->model, &bench->graph_api, bench->backend,
                                     (tn_model *)bench->model, &fake_tokenizer, NULL, &bench->engine, &error);
    if (status != TN_OK)
        fail_msg("engine_create: %s", error.msg);
    assert_int_equal(engine_table.client_open(bench->engine, bench->queue_cap, &bench->client, &error), TN_OK);
}

uint64_t bench_all_pages(const bench *bench)
{
    uint64_t pages = 0;
    for (uint32_t g = 0; g < bench->config.kv_group_count; g++)
        pages += bench->pages[g];
    return pages;
}

/* The gauges are stored by the loop after each round, so this reads nothing that the loop owns. */
uint64_t bench_free_pages(const bench *bench)
{
    double used = bench_stat(bench, "kv_cache_usage_perc", NULL);
    return used == 0 ? bench_all_pages(bench) : 0;
}

void bench_stop(bench *bench)
{
    engine_table.client_close(bench->client);
    for (int i = 0; i < 5000 && (bench_free_pages(bench) != bench_all_pages(bench) ||
                                 bench_stat(bench, "num_requests_waiting", NULL) > 0 ||
                                 bench_stat(bench, "num_requests_running", NULL) > 0);
         i++)
        usleep(1000);
    assert_int_equal(bench_free_pages(bench), bench_all_pages(bench));
    assert_int_equal(bench_stat(bench, "num_requests_running", NULL), 0);
    assert_int_equal(bench_stat(bench, "num_requests_waiting", NULL), 0);
    assert_int_equal(atomic_load(&bench->engine->request_bytes), 0);
    engine_destroy(bench->engine);
    assert_string_equal(bench->model->fault, "");
    fake_model_destroy(bench->model);
    bench->model = NULL;
    bench->engine = NULL;
}

void make_prompt(int32_t *token, uint32_t n, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        token[i] = FAKE_BYTE + (int32_t)(seed >> 33) % 200;
    }
}

tn_request make_request(const int32_t *token, uint32_t n, uint32_t max_new)
{
    return (tn_request){
        .struct_size = sizeof(tn_request), .token = token, .token_count = n, .max_new = max_new, .user = 77};
}

answer *answer_create(void)
{
    answer *answer = calloc(1, sizeof *answer);
    assert_non_null(answer);
    return answer;
}

uint64_t bench_submit(bench *bench, const tn_request *request)
{
    tn_error error = TN_ERROR_INIT;
    uint64_t id = 0;
    tn_status status = engine_table.submit(bench->client, request, &id, &error);
    if (status != TN_OK)
        fail_msg("submit: %s", error.msg);
    return id;
}

static void add_text(answer_choice *choice, const tn_event *event)
{
    assert_int_equal(event->text_offset, choice->text_bytes);
    assert_int_equal(event->text[event->text_bytes], 0);
    assert_true(utf8_is_valid(event->text, event->text_bytes));
    assert_true(choice->text_bytes + event->text_bytes < sizeof choice->text);
    memcpy(choice->text + choice->text_bytes, event->text, event->text_bytes + 1);
    choice->text_bytes += event->text_bytes;
}

static void take_token(answer *answer, const tn_event *event)
{
    answer_choice *choice = &answer->choice[event->choice];
    assert_int_equal(event->index, choice->count);
    assert_int_equal(choice->finish, TN_FINISH_NONE);
    choice->token[choice->count] = event->token;
    choice->logprob[choice->count++] = event->logprob;
    add_text(choice, event);
}

static void take_choice(answer *answer, const tn_event *event)
{
    answer_choice *choice = &answer->choice[event->choice];
    assert_int_equal(choice->finish, TN_FINISH_NONE);
    assert_int_not_equal(event->finish, TN_FINISH_NONE);
    choice->finish = event->finish;
    choice->stop_token = event->stop_token;
    if (event->stop)
        snprintf(choice->stop, sizeof choice->stop, "%s", event->stop);
    add_text(choice, event);
    answer->choices_ended++;
}

void answer_take(answer *answer, const tn_event *event)
{
    assert_int_equal(event->user, 77);
    assert_false(answer->done);
    switch (event->kind) {
    case TN_EVENT_ACCEPTED:
        assert_false(answer->accepted);
        answer->accepted = true;
        answer->seed = event->seed;
        answer->cached_tokens = event->cached_tokens;
        break;
    case TN_EVENT_PROMPT:
        assert_true(answer->accepted);
        assert_int_equal(event->index, answer->prompt_count + 1);
        if (event->top_count > 0)
            answer->prompt_top[answer->prompt_count] = event->top_id[0];
        answer->prompt_logprob[answer->prompt_count++] = event->logprob;
        break;
    case TN_EVENT_TOKEN:
        assert_true(answer->accepted);
        take_token(answer, event);
        break;
    case TN_EVENT_CHOICE:
        take_choice(answer, event);
        break;
    case TN_EVENT_DONE:
        answer->done = true;
        answer->status = event->status;
        answer->generated_tokens = event->generated_tokens;
        snprintf(answer->error, sizeof answer->error, "%s", event->text);
        break;
    default:
        fail_msg("event kind %u", event->kind);
    }
}

void bench_collect(bench *bench, answer *const *answers, uint32_t count)
{
    uint32_t done = 0;
    struct pollfd wait = {.fd = engine_table.event_fd(bench->client), .events = POLLIN};

    for (uint32_t i = 0; i < count; i++)
        done += answers[i]->done;
    while (done < count) {
        tn_event events[16];
        if (poll(&wait, 1, 20000) != 1)
            fail_msg("no event for 20 s");
        events[0].struct_size = sizeof events[0];
        uint32_t got = engine_table.poll(bench->client, events, sizeof events[0], 16);
        for (uint32_t e = 0; e < got; e++)
            for (uint32_t i = 0; i < count; i++)
                if (answers[i]->id == events[e].request) {
                    answer_take(answers[i], &events[e]);
                    done += events[e].kind == TN_EVENT_DONE;
                }
    }
}

answer *bench_run(bench *bench, const tn_request *request)
{
    answer *answer = answer_create();
    answer->id = bench_submit(bench, request);
    bench_collect(bench, &answer, 1);
    return answer;
}

/* The seen list of one row, the plain way. */
static uint32_t list_seen(const tn_request *request, const int32_t *out, uint32_t n, int32_t *token, uint32_t *times)
{
    uint32_t count = 0;
    for (int32_t t = 0; t < FAKE_VOCAB; t++) {
        uint32_t in_prompt = 0, in_output = 0;
        for (uint64_t i = 0; i < request->token_count; i++)
            in_prompt += request->token[i] == t;
        for (uint32_t i = 0; i < n; i++)
            in_output += out[i] == t;
        if (in_prompt + in_output == 0)
            continue;
        token[count] = t;
        times[count++] = in_output;
    }
    return count;
}

static bool is_stop(const tn_request *request, int32_t token)
{
    for (uint32_t i = 0; i < request->stop_token_count; i++)
        if (request->stop_token[i] == token)
            return true;
    return token == FAKE_EOS && !(request->flags & TN_REQ_IGNORE_EOS);
}

uint32_t expected_tokens(const tn_request *request, uint64_t seed, uint32_t choice, uint32_t max_model_len,
                         int32_t *ret_token, float *ret_logprob)
{
    static _Thread_local char scratch[1 << 16] __attribute__((aligned(64)));
    uint64_t chain = 0;
    uint32_t n = 0, position = 0;
    uint32_t mask[(FAKE_VOCAB + 31) / 32] = {0};

    for (uint32_t i = 0; i < request->allowed_count; i++)
        mask[request->allowed[i] / 32] |= 1u << (request->allowed[i] % 32);
    for (; position < request->token_count; position++)
        chain = fake_chain(chain, request->token[position], position);
    while (n < request->max_new && position < max_model_len) {
        int32_t seen[FAKE_VOCAB], id;
        uint32_t times[FAKE_VOCAB], seen_row[2] = {0, list_seen(request, ret_token, n, seen, times)};
        int32_t bias_token[32];
        float bias_value[32], top_p = request->top_p > 0 ? request->top_p : 1, logits[FAKE_VOCAB];
        float repetition = request->repetition > 0 ? request->repetition : 1;
        uint32_t bias_row[2] = {0, 0};
        for (uint32_t i = 0; i < request->bias_count; i++, bias_row[1]++) {
            bias_token[bias_row[1]] = request->bias[i].token;
            bias_value[bias_row[1]] = request->bias[i].value;
        }
        for (int32_t t = 0; t < FAKE_VOCAB && n < request->min_new; t++)
            if (is_stop(request, t)) {
                bias_token[bias_row[1]] = t;
                bias_value[bias_row[1]++] = -1e30f;
            }
        tn_sample sample = {.struct_size = sizeof sample,
                            .temperature = &request->temperature,
                            .top_p = &top_p,
                            .min_p = &request->min_p,
                            .repetition = &repetition,
                            .presence = &request->presence,
                            .frequency = &request->frequency,
                            .top_k = &request->top_k,
                            .choice = &choice,
                            .seed = &seed,
                            .mask = request->allowed_count > 0 ? mask : NULL,
                            .bias_row = bias_row,
                            .bias_token = bias_token,
                            .bias_value = bias_value,
                            .seen_row = seen_row,
                            .seen_token = seen,
                            .seen_count = times};
        tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &id, .logprob = &ret_logprob[n]};
        fake_logits(chain, logits);
        sampler_row(&sample, 0, position, TN_WANT_LOGPROB, logits, FAKE_VOCAB, scratch, &result);
        ret_token[n++] = id;
        if (n > request->min_new && is_stop(request, id))
            break;
        chain = fake_chain(chain, id, position++);
    }
    return n;
}

void assert_same_answer(const answer *a, const answer *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->choices_ended, b->choices_ended);
    assert_int_equal(a->prompt_count, b->prompt_count);
    assert_memory_equal(a->prompt_logprob, b->prompt_logprob, a->prompt_count * sizeof(float));
    for (uint32_t c = 0; c < ANSWER_CHOICES_MAX; c++) {
        const answer_choice *left = &a->choice[c], *right = &b->choice[c];
        assert_int_equal(left->count, right->count);
        assert_int_equal(left->finish, right->finish);
        assert_memory_equal(left->token, right->token, left->count * sizeof left->token[0]);
        assert_memory_equal(left->logprob, right->logprob, left->count * sizeof left->logprob[0]);
        assert_string_equal(left->text, right->text);
    }
}

void assert_expected(const bench *bench, const tn_request *request, const answer *answer)
{
    static _Thread_local int32_t token[ANSWER_TOKENS_MAX];
    static _Thread_local float logprob[ANSWER_TOKENS_MAX];
    uint32_t choices = request->n_choices > 0 ? request->n_choices : 1;

    assert_int_equal(answer->status, TN_OK);
    assert_int_equal(answer->choices_ended, choices);
    for (uint32_t c = 0; c < choices; c++) {
        const answer_choice *choice = &answer->choice[c];
        uint32_t n = expected_tokens(request, answer->seed, c, bench->config.max_model_len, token, logprob);
        assert_int_equal(choice->count, n);
        assert_memory_equal(choice->token, token, n * sizeof token[0]);
        if (request->flags & TN_REQ_LOGPROBS)
            assert_memory_equal(choice->logprob, logprob, n * sizeof logprob[0]);
        assert_int_equal(choice->finish, n > 0 && n > request->min_new && is_stop(request, token[n - 1])
                                             ? TN_FINISH_STOP
                                             : TN_FINISH_LENGTH);
    }
}

double bench_stat(const bench *bench, const char *name, const char *label_value)
{
    tn_stat stat = {.struct_size = sizeof stat};
    for (uint32_t i = 0; engine_stats_table.stat(bench->engine, i, &stat) == TN_OK; i++)
        if (strcmp(stat.name, name) == 0 && (!label_value || strcmp(stat.label_value, label_value) == 0))
            return stat.kind == TN_STAT_HISTOGRAM ? (double)stat.count : stat.value;
    fail_msg("no series %s", name);
    return 0;
}
