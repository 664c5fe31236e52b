/* auth.c: every key is compared over the whole offered token, with no early exit. */
#include "auth.h"

#include <string.h>
#include <strings.h>

static bool same(const char *offered, size_t offered_bytes, const char *key)
{
    size_t key_bytes = strlen(key);
    volatile unsigned char difference = offered_bytes != key_bytes;

    for (size_t i = 0; i < offered_bytes; i++) /* keys are not empty, so the remainder exists */
        difference |= (unsigned char)(offered[i] ^ key[i % key_bytes]);
    return difference == 0;
}

/* What follows "Bearer ", NULL if nothing does. */
static const char *bearer_of(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *offered = authorization + sizeof scheme - 1;
    offered += strspn(offered, " ");
    return *offered ? offered : NULL;
}

bool auth_accepts(const char *authorization, char *const *keys, uint32_t key_count)
{
    const char *offered = bearer_of(authorization);
    bool accepted = false;
    if (!offered)
        return false;
    for (uint32_t i = 0; i < key_count; i++)
        accepted |= same(offered, strlen(offered), keys[i]);
    return accepted;
}

/* ---- tokens with scopes ---- */

/* "'infer' or 'batch'". */
static const char *scope_names(uint32_t scopes, char text[64])
{
    static const struct {
        uint32_t bit;
        const char *name;
    } all[] = {{TN_SCOPE_INFER, "infer"}, {TN_SCOPE_BATCH, "batch"}, {TN_SCOPE_ADMIN, "admin"}};
    text[0] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t used = strlen(text);
        if (scopes & all[i].bit)
            snprintf(text + used, 64 - used, "%s'%s'", used ? " or " : "", all[i].name);
    }
    return text;
}

static tn_status check_token(const tn_front *front, uint32_t needed, const char *token, tn_identity *ret_caller,
                             api_error *error)
{
    tn_identity identity = {.struct_size = sizeof identity};
    tn_error err = TN_ERROR_INIT;
    char names[64];

    if (!token)
        return api_fail(error, 401, "invalid_api_key", NULL,
                        "a token with the scope %s is required: send the header 'Authorization: Bearer TOKEN'",
                        scope_names(needed, names));
    tn_status status = front->auth->identify(front->host, token, strlen(token), &identity, &err);
    if (status == TN_E_NOT_FOUND)
        return api_fail(error, 401, "invalid_api_key", NULL, "the token is unknown, revoked or expired");
    if (status != TN_OK) {
        front->host->log(front->host, TN_LOG_ERROR, "http", err.msg);
        api_fail(error, 503, "unavailable", NULL, "tokens cannot be checked at the moment; see the server's log");
        error->retry_after = 1;
        return TN_E_ARGUMENT;
    }
    if (identity.scopes & needed) {
        *ret_caller = identity;
        return TN_OK;
    }
    return api_fail(error, 403, "insufficient_scope", NULL,
                    "the token '%.63s' lacks the scope %s, which this path needs", identity.name,
                    scope_names(needed, names));
}

static tn_status check_key(const tn_front *front, const char *authorization, api_error *error)
{
    if (front->options.key_count == 0 || auth_accepts(authorization, front->options.keys, front->options.key_count))
        return TN_OK;
    return api_fail(error, 401, "invalid_api_key", NULL,
                    "a valid API key is required: send the header 'Authorization: Bearer KEY'");
}

bool auth_asks(const tn_front *front)
{
    return front->options.key_count > 0 || (front->auth && front->auth->enabled(front->host));
}

tn_status auth_check(const tn_front *front, const char *method, const char *path, bool open, const char *authorization,
                     bool local_user, tn_identity *ret_caller, api_error *error)
{
    *ret_caller = (tn_identity){.struct_size = sizeof *ret_caller};
    if (!front->auth || !front->auth->enabled(front->host))
        return open ? TN_OK : check_key(front, authorization, error);
    const char *asked = strcmp(method, "HEAD") == 0 ? "GET" : method;
    uint32_t needed = front->auth->needed(front->host, asked, path);
    return needed == 0 || local_user ? TN_OK : check_token(front, needed, bearer_of(authorization), ret_caller, error);
}
