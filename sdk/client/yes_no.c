/* yes_no.c: see yes_no.h.
 *
 * A spelling that is one token is best; where a vocabulary has none for a side, the first tokens of the spellings tell
 * them apart just as well ("y" and "n"), as long as no token begins both.
 */
#include "client/yes_no.h"

#include <string.h>

static const char *const spellings[2][YES_NO_SPELLINGS] = {
    {"no", "No", " no", " No", "NO", " NO", "n", "N"},
    {"yes", "Yes", " yes", " Yes", "YES", " YES", "y", "Y"},
};

typedef struct spelling_token {
    int32_t first; /* -1: the spelling gives no tokens */
    bool whole;
} spelling_token;

static tn_status tokenize(request_window *window, const char *service, const char *text, client_waiter *wait,
                          void *context, spelling_token *ret_token, tn_error *err)
{
    client_request request;
    client_answer answer;

    tn_status status = question_tokens(service, (text_span){text, strlen(text)}, false, &request, err);
    if (status == TN_OK)
        status = client_call(window, request, wait, context, false, &answer, err);
    if (status != TN_OK)
        return status;
    if (answer.kind != ANSWER_OK)
        return tn_fail(err, TN_E_ARGUMENT, "%s", answer.message);
    const json_t *ids = json_object_get(answer.root, "tokens");
    const json_t *first = json_array_get(ids, 0);
    *ret_token = (spelling_token){
        json_is_integer(first) ? (int32_t)json_integer_value(first) : -1,
        json_array_size(ids) == 1,
    };
    client_answer_finish(&answer);
    return TN_OK;
}

static bool side_begins_with(const spelling_token side[YES_NO_SPELLINGS], int32_t id, bool whole_only)
{
    for (int i = 0; i < YES_NO_SPELLINGS; i++)
        if (side[i].first == id && (side[i].whole || !whole_only))
            return true;
    return false;
}

/* Adds one side's tokens that the other side does not begin with; false if there are none. */
static bool add_side(spelling_token found[2][YES_NO_SPELLINGS], int side, bool whole_only, yes_no *tokens)
{
    uint32_t before = tokens->count;

    for (int i = 0; i < YES_NO_SPELLINGS; i++) {
        const spelling_token *token = &found[side][i];
        bool known = false;
        for (uint32_t k = before; k < tokens->count; k++)
            known |= tokens->id[k] == token->first;
        if (token->first < 0 || known || (whole_only && !token->whole) ||
            side_begins_with(found[!side], token->first, false))
            continue;
        tokens->id[tokens->count] = token->first;
        tokens->is_yes[tokens->count++] = side == 1;
    }
    return tokens->count > before;
}

static bool choose(spelling_token found[2][YES_NO_SPELLINGS], yes_no *ret_tokens)
{
    for (int whole_only = 1; whole_only >= 0; whole_only--) {
        yes_no tokens = {.count = 0};
        bool no = add_side(found, 0, whole_only, &tokens), yes = add_side(found, 1, whole_only, &tokens);
        if (no && yes) {
            *ret_tokens = tokens;
            return true;
        }
    }
    return false;
}

tn_status yes_no_learn(request_window *window, const char *service, client_waiter *wait, void *context,
                       yes_no *ret_tokens, tn_error *err)
{
    spelling_token found[2][YES_NO_SPELLINGS];
    tn_status status = TN_OK;

    for (int i = 0; status == TN_OK && i < YES_NO_TOKENS_MAX; i++)
        status = tokenize(window, service, spellings[i / YES_NO_SPELLINGS][i % YES_NO_SPELLINGS], wait, context,
                          &found[i / YES_NO_SPELLINGS][i % YES_NO_SPELLINGS], err);
    if (status == TN_OK && !choose(found, ret_tokens))
        status = tn_fail(err, TN_E_UNSUPPORTED,
                         "the vocabulary of '%.128s' has no tokens that tell 'yes' from 'no'; ask with llm_complete",
                         service);
    return status;
}

tn_status yes_no_constrain(const yes_no *tokens, run_options *options, tn_error *err)
{
    json_t *ids = json_array();
    bool failed = !ids;

    for (uint32_t i = 0; i < tokens->count && !failed; i++)
        failed = json_array_append_new(ids, json_integer(tokens->id[i])) != 0;
    failed |= json_object_set_new(options->fields, "allowed_token_ids", ids) != 0;
    failed |= json_object_set_new(options->fields, "max_tokens", json_integer(1)) != 0;
    failed |= json_object_set_new(options->fields, "return_token_ids", json_true()) != 0;
    if (!json_object_get(options->fields, "temperature"))
        failed |= json_object_set_new(options->fields, "temperature", json_integer(0)) != 0;
    return failed ? tn_fail(err, TN_E_MEMORY, "out of memory for the options") : TN_OK;
}

bool yes_no_read(const yes_no *tokens, const client_answer *answer, bool *ret_yes)
{
    const json_t *choice = json_array_get(json_object_get(answer->root, "choices"), 0);
    const json_t *id = json_array_get(json_object_get(choice, "token_ids"), 0);

    for (uint32_t i = 0; json_is_integer(id) && i < tokens->count; i++)
        if (tokens->id[i] == json_integer_value(id)) {
            *ret_yes = tokens->is_yes[i];
            return true;
        }
    return false;
}
