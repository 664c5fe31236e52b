/* runtime/batch/runner.c: see runner.h.
 *
 * The window is ordered, so answers come in the order of rows and the log is a prefix of the input. A request that was
 * sent and lost its connection is asked again by itself, since asking twice does no harm here: the first answer is
 * nowhere. If the server is gone, that fails for want of a connection, which ends the run; a row that kills the server
 * each time becomes an error at the end of its retries.
 */
#include "batch/runner.h"

#include "client/answer.h"

#include <poll.h>
#include <string.h>

enum { WAIT_MS_MAX = 200 }; /* until a signal that came just before the wait is seen */

typedef struct asked_row {
    batch_row row;
    uint64_t index;
} asked_row;

struct batch_runner {
    request_window *window, *again; /* again: one row at a time */
    uint32_t retries;
    bool left; /* told to stop, a row was left to the next run: so are those behind it, as the log is a prefix */
    runner_job job;
    const batch_watch *watch;
    asked_row *rows; /* by slot of window */
    uint64_t done;
};

tn_status runner_create(const batch_connection *connection, const runner_job *job, const batch_watch *watch,
                        batch_runner **ret_runner, tn_error *err)
{
    batch_runner *runner = calloc(1, sizeof *runner);
    window_limits one = connection->limits;
    tn_status status;

    if (!runner)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the rows in flight");
    *runner = (batch_runner){.retries = connection->limits.retries, .job = *job, .watch = watch};
    one.window = 1;
    status = request_window_create(&connection->server, &connection->limits, &runner->window, err);
    if (status == TN_OK)
        status = request_window_create(&connection->server, &one, &runner->again, err);
    if (status == TN_OK) {
        runner->rows = calloc(request_window_slots(runner->window), sizeof *runner->rows);
        if (!runner->rows)
            status = tn_fail(err, TN_E_MEMORY, "out of memory for the rows in flight");
    }
    if (status != TN_OK) {
        runner_destroy(runner);
        return status;
    }
    *ret_runner = runner;
    return TN_OK;
}

void runner_destroy(batch_runner *runner)
{
    if (!runner)
        return;
    for (uint32_t i = 0; runner->rows && i < request_window_slots(runner->window); i++)
        row_finish(&runner->rows[i].row);
    request_window_destroy(runner->window);
    request_window_destroy(runner->again);
    free(runner->rows);
    free(runner);
}

static tn_status make_request(const batch_runner *runner, const batch_row *row, client_request *ret_request,
                              tn_error *err)
{
    json_t *body = json_copy((json_t *)runner->job.params);
    char *text = NULL;

    if (body && json_object_update(body, row->body) == 0 &&
        json_object_set_new(body, "model", json_string(runner->job.service)) == 0)
        text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a request");
    *ret_request = (client_request){row->path, text};
    return TN_OK;
}

static void wait_for(request_window *window)
{
    struct pollfd fd = {.fd = request_window_fd(window), .events = POLLIN};
    uint32_t ms = request_window_timeout_ms(window);

    poll(&fd, 1, (int)(ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX));
    request_window_step(window);
}

/* ---- answers ---- */

static json_t *number_or_null(int64_t number)
{
    return number < 0 ? json_null() : json_integer(number);
}

static json_t *text_or_null(const char *text, size_t bytes)
{
    return text ? json_stringn(text, bytes) : json_null();
}

static json_t *make_record(const asked_row *asked, const client_answer *answer)
{
    bool failed = answer->kind == ANSWER_ROW;
    const char *finish = answer->finish_reason;
    json_t *record =
        json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "row", (json_int_t)asked->index, "key",
                  asked->row.key, "status", client_answer_status(answer), "value",
                  text_or_null(answer->value, answer->value_bytes), "error_code",
                  text_or_null(failed ? answer->code : NULL, strlen(answer->code)), "error",
                  text_or_null(failed ? answer->message : NULL, strlen(answer->message)), "finish_reason",
                  text_or_null(finish, finish ? strlen(finish) : 0), "prompt_tokens",
                  number_or_null(answer->prompt_tokens), "completion_tokens", number_or_null(answer->completion_tokens),
                  "latency_ms", (json_int_t)answer->latency_ms, "attempts", (json_int_t)answer->attempts);

    if (record && asked->row.openai &&
        json_object_set_new(record, "response", answer->root ? json_incref(answer->root) : json_null()) != 0) {
        json_decref(record);
        return NULL;
    }
    if (record && failed && answer->http_status &&
        json_object_set_new(record, "http_status", json_integer(answer->http_status)) != 0) {
        json_decref(record);
        return NULL;
    }
    return record;
}

static tn_status log_answer(batch_runner *runner, const asked_row *asked, const client_answer *answer, tn_error *err)
{
    json_t *record = make_record(asked, answer);

    if (!record)
        return tn_fail(err, TN_E_MEMORY, "out of memory for an answer");
    tn_status status = job_log_append(runner->job.log, record, err);
    json_decref(record);
    if (status == TN_OK && runner->watch->report)
        runner->watch->report(runner->watch->context, ++runner->done, runner->job.total);
    if (status == TN_OK && runner->watch->counts)
        runner->watch->counts(job_log_counts(runner->job.log), runner->job.rows);
    return status;
}

static bool is_lost(const client_answer *answer)
{
    return answer->kind == ANSWER_ROW && strcmp(answer->code, "connection_lost") == 0;
}

/* Waits for it, as for all that is in flight. */
static tn_status ask_again(batch_runner *runner, const asked_row *asked, client_answer *answer, tn_error *err)
{
    client_request request;
    client_reply reply;
    uint32_t slot, attempts = answer->attempts;
    tn_status status = make_request(runner, &asked->row, &request, err);

    if (status != TN_OK)
        return status;
    request_window_add(runner->again, request);
    while (!request_window_take(runner->again, &slot, &reply))
        wait_for(runner->again);
    client_answer_finish(answer);
    client_answer_read(&reply, true, asked->row.body, answer);
    answer->attempts += attempts;
    return TN_OK;
}

static tn_status finish_row(batch_runner *runner, asked_row *asked, client_reply *reply, tn_error *err)
{
    client_answer answer;
    tn_status status = TN_OK;

    client_answer_read(reply, true, asked->row.body, &answer);
    for (uint32_t i = 0; i < runner->retries && is_lost(&answer) && status == TN_OK && !*runner->watch->stop; i++)
        status = ask_again(runner, asked, &answer, err);
    runner->left |= is_lost(&answer) && *runner->watch->stop;
    if (status == TN_OK && runner->left)
        status = tn_fail(err, TN_E_CANCELLED, "stopped");
    if (!runner->job.zero_bytes)
        client_answer_forbid_zero(&answer, false);
    if (status == TN_OK && answer.kind == ANSWER_SYSTEMIC)
        status = tn_fail(err, TN_E_ARGUMENT, "%s (at the row with key '%.100s')", answer.message, asked->row.key);
    if (status == TN_OK)
        status = log_answer(runner, asked, &answer, err);
    client_answer_finish(&answer);
    row_finish(&asked->row);
    return status;
}

/* Every answer that is there. */
static tn_status take_all(batch_runner *runner, tn_error *err)
{
    client_reply reply;
    uint32_t slot;
    tn_status status = TN_OK;

    while (status == TN_OK && request_window_take(runner->window, &slot, &reply))
        status = finish_row(runner, &runner->rows[slot], &reply, err);
    return status;
}

tn_status runner_ask(batch_runner *runner, batch_row *row, uint64_t index, tn_error *err)
{
    client_request request;
    tn_status status = take_all(runner, err);

    while (status == TN_OK && !request_window_has_room(runner->window) && !*runner->watch->stop) {
        wait_for(runner->window);
        status = take_all(runner, err);
    }
    if (status == TN_OK && *runner->watch->stop)
        status = tn_fail(err, TN_E_CANCELLED, "stopped");
    if (status == TN_OK && row->body)
        status = make_request(runner, row, &request, err);
    if (status != TN_OK) {
        row_finish(row);
        return status;
    }
    uint32_t slot = row->body ? request_window_add(runner->window, request) : request_window_skip(runner->window);
    runner->rows[slot] = (asked_row){*row, index};
    *row = (batch_row){.key = NULL};
    return TN_OK;
}

tn_status runner_drain(batch_runner *runner, tn_error *err)
{
    tn_status status = take_all(runner, err);

    while (status == TN_OK && request_window_outstanding(runner->window) > 0) {
        wait_for(runner->window);
        status = take_all(runner, err);
    }
    return status;
}
