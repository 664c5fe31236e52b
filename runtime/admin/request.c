/* request.c: see request.h. */
#include "admin/request.h"

#include <stdlib.h>
#include <string.h>

bool request_sees(const request *request, const json_t *owned)
{
    const char *owner = json_string_value(json_object_get(owned, "owner"));
    return request->sees_all || (owner && strcmp(owner, request->caller) == 0);
}

bool request_fields(const request *request, const field *fields, uint32_t count, answer *ret_answer)
{
    const char *param = NULL;
    tn_error err = TN_ERROR_INIT;
    tn_status status = fields_read(request->body, fields, count, &param, &err);

    if (status == TN_OK)
        return true;
    *ret_answer = answer_failure(status, param, &err);
    return false;
}

bool request_registry(const request *request, bool create, registry **ret_registry, answer *ret_answer)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = registry_open(request->admin->registry_root, create, ret_registry, &err);

    if (status != TN_OK)
        *ret_answer = answer_failure(status, NULL, &err);
    return status == TN_OK;
}

static void tell_progress(void *ctx, double share)
{
    operation_progress(ctx, share);
}

bool request_run(const request *request, const words *words, program_result *ret_result, answer *ret_answer)
{
    tn_error err = TN_ERROR_INIT;
    const program_watch watch = {tell_progress, request->operation};
    tn_status status =
        programs_run(request->admin->programs, words->at, request->operation ? &watch : NULL, ret_result, &err);

    if (status != TN_OK)
        *ret_answer =
            status == TN_E_AGAIN ? answer_error(429, NULL, "%s", err.msg) : answer_failure(status, NULL, &err);
    return status == TN_OK;
}

/* ---- words ---- */

bool words_add(words *words, const char *text)
{
    if (words->count == PROGRAM_WORDS_MAX)
        return false;
    words->at[words->count++] = text;
    return true;
}

bool words_add_flag(words *words, const char *name, const char *value)
{
    size_t bytes = strlen(name) + (value ? strlen(value) : 0) + 4;
    char *word = words->owned_count < PROGRAM_WORDS_MAX ? malloc(bytes) : NULL;

    if (!word)
        return false;
    snprintf(word, bytes, value ? "--%s=%s" : "--%s", name, value);
    words->owned[words->owned_count++] = word;
    return words_add(words, word);
}

bool words_add_settings(words *words, const tn_admin *admin)
{
    const admin_options *options = &admin->options;
    char root[PATH_MAX + 16];

    if (options->ini && !words_add_flag(words, "config", options->ini))
        return false;
    for (const char *const *set = options->sets; set && *set; set++)
        if (!words_add_flag(words, "set", *set))
            return false;
    snprintf(root, sizeof root, "registry.path=%s", admin->registry_root);
    return words_add_flag(words, "set", root);
}

void words_finish(words *words)
{
    for (uint32_t i = 0; i < words->owned_count; i++)
        free(words->owned[i]);
    words->owned_count = 0;
}
