/* plan_route.c: POST /plan: what `tenon plan --json` says, by the same flags with '_' for '-'. */
#include "admin/route.h"

#include <string.h>

static const char *const flags[] = {"pool", "strategy", "max_model_len", "concurrency",  "kv_dtype",  "quant",
                                    "tp",   "util",     "load_format",   "in",           "cached",    "out",
                                    "peak", "price",    "price_in",      "price_cached", "price_out", "throughput"};
enum { FLAGS = sizeof flags / sizeof *flags, MODEL_BYTES = BODY_TEXT_BYTES_MAX + 16 };

typedef struct plan_body {
    const char *model;
    bool roi;
    json_t *value[FLAGS]; /* of flags */
} plan_body;

static bool read_body(const request *request, plan_body *body, answer *ret_answer)
{
    field fields[FLAGS + 2] = {{"model", FIELD_TEXT, &body->model, true}, {"roi", FIELD_BOOL, &body->roi, false}};

    for (size_t i = 0; i < FLAGS; i++)
        fields[i + 2] = (field){flags[i], FIELD_SCALAR, &body->value[i], false};
    return request_fields(request, fields, FLAGS + 2, ret_answer);
}

static bool add_flag(words *words, const char *field, const json_t *value)
{
    char flag[32], text[BODY_TEXT_BYTES_MAX];

    snprintf(flag, sizeof flag, "%s", field);
    for (char *at = flag; *at; at++)
        *at = *at == '_' ? '-' : *at;
    return scalar_text(value, text, sizeof text) && words_add_flag(words, flag, text);
}

/* model: as a service names it, a registry's name or an absolute path. */
static bool add_words(words *words, const tn_admin *admin, const plan_body *body, char model[MODEL_BYTES])
{
    bool is_path = body->model[0] == '/', has_prefix = strncmp(body->model, SETTINGS_REGISTRY, 9) == 0;

    snprintf(model, MODEL_BYTES, "%s%s", is_path || has_prefix ? "" : SETTINGS_REGISTRY, body->model);
    bool fits = words_add(words, "plan") && words_add(words, "--json") && (!body->roi || words_add(words, "--roi"));
    for (size_t i = 0; fits && i < FLAGS; i++)
        fits = !body->value[i] || add_flag(words, flags[i], body->value[i]);
    return fits && words_add_settings(words, admin) && words_add(words, "--") && words_add(words, model);
}

/* 0, 2 and 3 come with a plan; 2 without one is wrong usage. */
static answer answer_planned(const program_result *result)
{
    json_error_t error;
    json_t *plan = result->bytes ? json_loadb(result->output, result->bytes, 0, &error) : NULL;

    if (plan)
        return answer_json(200, plan);
    if (result->exit_code < 0)
        return answer_error(422, "model", "planning has ended with signal %d", -result->exit_code);
    return answer_error(422, NULL, "%s", result->message);
}

answer admin_plan(request *request)
{
    plan_body body = {0};
    words words = {0};
    program_result result;
    char model[MODEL_BYTES];
    answer answer;

    if (!read_body(request, &body, &answer))
        return answer;
    if (!add_words(&words, request->admin, &body, model)) {
        words_finish(&words);
        return answer_error(400, NULL, "a value is too long");
    }
    if (request_run(request, &words, &result, &answer)) {
        answer = answer_planned(&result);
        program_result_finish(&result);
    }
    words_finish(&words);
    return answer;
}
