/* fuzz_sql_answer.c: the first byte chooses a status, the rest is what a server answers, as the SQL functions read it;
 * then the same bytes as options, messages and schema. */
#include "client/answer_text.h"
#include "client/question.h"
#include "client/yes_no.h"

#include <string.h>

static void read_answer(uint32_t http_status, const char *bytes, size_t n)
{
    static answer_writer *const writers[] = {answer_text_value, answer_text_json,      answer_text_count,
                                             answer_text_try,   answer_text_embedding, answer_text_object};
    const yes_no tokens = {.id = {7}, .is_yes = {true}, .count = 1};
    client_reply reply = {.http_status = http_status, .bytes = malloc(n + 1), .count = n};
    client_answer answer;
    bool yes;

    TN_ASSERT(reply.bytes);
    memcpy(reply.bytes, bytes, n);
    reply.bytes[n] = '\0';
    client_answer_read(&reply, bytes[0] & 1, NULL, &answer);
    TN_ASSERT((answer.kind == ANSWER_OK) == (answer.code[0] == '\0' && answer.root));
    TN_ASSERT(answer.kind == ANSWER_OK || !answer.value);
    for (size_t i = 0; answer.kind == ANSWER_OK && i < sizeof writers / sizeof *writers; i++)
        free(writers[i](&answer));
    yes_no_read(&tokens, &answer, &yes);
    client_answer_forbid_zero(&answer, bytes[0] & 2);
    char *told = answer_text_try(&answer); /* whatever the server said, and whatever was cut off it */
    TN_ASSERT(told);
    free(told);
    client_answer_finish(&answer);
}

static void make_questions(const char *bytes, size_t n)
{
    run_options options;
    client_request request;
    tn_error err = TN_ERROR_INIT;
    text_span text = {bytes, n};

    tn_status status = run_options_parse(bytes, n, ON_ERROR_NULL, &options, &err);
    TN_ASSERT((status == TN_OK) == (err.msg[0] == '\0'));
    if (status != TN_OK && run_options_parse(NULL, 0, ON_ERROR_NULL, &options, NULL) != TN_OK)
        return;
    if (question_complete("m", text, &options, NULL, &request, NULL) == TN_OK)
        free(request.body);
    if (question_chat("m", text, &options, &request, NULL) == TN_OK)
        free(request.body);
    if (question_json("m", text, text, &options, &request, NULL) == TN_OK)
        free(request.body);
    run_options_finish(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const uint32_t statuses[] = {200, 400, 404, 500};

    if (n < 2)
        return 0;
    read_answer(statuses[bytes[0] % 4], (const char *)bytes + 1, n - 1);
    make_questions((const char *)bytes + 1, n - 1);
    return 0;
}
