/* auth.c: one token file for the process, since a plugin and what it may ask of the core belong to the process too. */
#include "auth/auth.h"

#include "auth/token_file.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static char *path;                                       /* NULL: no tokens are asked for */
static token_list tokens;
static token_file_stamp stamp;

/* Changed files are read; one that cannot be read lets nobody in, whatever was known before. */
static tn_status refresh(tn_error *err)
{
    token_file_stamp now;
    token_list fresh = {0};

    tn_status status = token_file_look(path, &now, err);
    if (status == TN_OK && memcmp(&now, &stamp, sizeof now) == 0)
        return TN_OK;
    if (status == TN_OK)
        status = token_file_read(path, &fresh, &now, err);
    token_list_finish(&tokens);
    stamp = status == TN_OK ? now : (token_file_stamp){0};
    tokens = fresh;
    return status == TN_E_NOT_FOUND || status == TN_E_ARGUMENT ? TN_E_IO : status;
}

tn_status auth_open(const settings *settings, tn_error *err)
{
    const char *file = settings_string(settings, "auth", "token_file");

    auth_close();
    if (!file)
        return TN_OK;
    pthread_mutex_lock(&lock);
    path = strdup(file);
    tn_status status = path ? refresh(err) : tn_fail(err, TN_E_MEMORY, "out of memory for a path");
    pthread_mutex_unlock(&lock);
    if (status != TN_OK)
        auth_close();
    return status;
}

void auth_close(void)
{
    pthread_mutex_lock(&lock);
    free(path);
    path = NULL;
    token_list_finish(&tokens);
    stamp = (token_file_stamp){0};
    pthread_mutex_unlock(&lock);
}

/* ---- tn.auth ---- */

static uint32_t auth_enabled(const tn_host *host)
{
    (void)host;
    pthread_mutex_lock(&lock);
    bool enabled = path != NULL;
    pthread_mutex_unlock(&lock);
    return enabled;
}

static uint32_t auth_needed(const tn_host *host, const char *method, const char *route)
{
    (void)host;
    return method && route ? scopes_needed(method, route) : TN_SCOPE_ADMIN;
}

static tn_status identify(const char *presented, uint64_t bytes, tn_identity *ret_identity, tn_error *err)
{
    tn_status status = path ? refresh(err) : TN_OK;
    if (status != TN_OK)
        return status;
    const token *token = token_list_find(&tokens, presented, bytes, (int64_t)time(NULL));
    if (!token)
        return tn_fail(err, TN_E_NOT_FOUND, "the token is not known here, or no longer good");
    *ret_identity = (tn_identity){.struct_size = sizeof *ret_identity, .scopes = token->scopes};
    memcpy(ret_identity->name, token->name, sizeof ret_identity->name);
    return TN_OK;
}

static tn_status auth_identify(const tn_host *host, const char *presented, uint64_t bytes, tn_identity *ret_identity,
                               tn_error *err)
{
    (void)host;
    if (!presented || !ret_identity || ret_identity->struct_size < sizeof *ret_identity)
        return tn_fail(err, TN_E_ARGUMENT, "tn.auth: identify lacks an argument");
    pthread_mutex_lock(&lock);
    tn_status status = identify(presented, bytes, ret_identity, err);
    pthread_mutex_unlock(&lock);
    return status;
}

const tn_auth_table auth_table = {
    .struct_size = sizeof auth_table,
    .enabled = auth_enabled,
    .needed = auth_needed,
    .identify = auth_identify,
};
