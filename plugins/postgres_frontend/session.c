/* session.c: see session.h. */
#include "session.h"

#include "base/utf8.h"

#include <mb/pg_wchar.h>
#include <miscadmin.h>
#include <storage/latch.h>
#include <utils/guc.h>
#include <utils/wait_event.h>

static char *server_setting, *key_setting;
static request_window *calls;
static client_server calls_server; /* whose window `calls` is */

static bool check_server(char **value, void **extra, GucSource source)
{
    client_server server;
    tn_error err = TN_ERROR_INIT;

    (void)extra;
    (void)source;
    if (client_server_parse(*value, NULL, &server, &err) == TN_OK)
        return true;
    GUC_check_errdetail("%s", err.msg);
    return false;
}

static bool check_key(char **value, void **extra, GucSource source)
{
    client_server server;
    tn_error err = TN_ERROR_INIT;

    (void)extra;
    (void)source;
    if (client_server_parse(CLIENT_SERVER_DEFAULT, *value, &server, &err) == TN_OK)
        return true;
    GUC_check_errdetail("%s", err.msg);
    return false;
}

void session_define_settings(void)
{
    DefineCustomStringVariable("tenon.server",
                               "Where tenon answers: unix:/path, http://HOST:PORT or https://HOST:PORT.", NULL,
                               &server_setting, CLIENT_SERVER_DEFAULT, PGC_SUSET, 0, check_server, NULL, NULL);
    DefineCustomStringVariable("tenon.api_key", "Key to present to tenon as a bearer token.", NULL, &key_setting, "",
                               PGC_SUSET, GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, check_key, NULL,
                               NULL);
    MarkGUCPrefixReserved("tenon");
}

const char *session_told(const char *message)
{
    char *told = pstrdup(message);

    utf8_repair(told);
    return told;
}

client_server session_server(void)
{
    client_server server;
    tn_error err = TN_ERROR_INIT;

    if (GetDatabaseEncoding() != PG_UTF8)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("tenon needs a database whose encoding is UTF8, not %s", GetDatabaseEncodingName())));
    if (client_server_parse(server_setting, key_setting, &server, &err) != TN_OK)
        ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("tenon.server: %s", err.msg)));
    return server;
}

request_window *session_window(void)
{
    client_server server = session_server();
    window_limits limits = window_limits_default();
    tn_error err = TN_ERROR_INIT;

    if (calls && memcmp(&server, &calls_server, sizeof server) == 0)
        return calls;
    request_window_destroy(calls);
    calls = NULL;
    limits.window = 1;
    limits.ordered = false;
    if (request_window_create(&server, &limits, &calls, &err) != TN_OK)
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("tenon: %s", err.msg)));
    calls_server = server;
    return calls;
}

tn_status session_call(client_request request, const window_limits *limits, bool wants_text, client_answer *ret_answer,
                       tn_error *err)
{
    request_window *window = session_window();
    tn_status status = TN_OK;

    request_window_adjust(window, limits->retries, limits->timeout_ms);
    PG_TRY();
    {
        status = client_call(window, request, session_wait, NULL, wants_text, ret_answer, err);
    }
    PG_CATCH();
    {
        request_window_clear(window);
        PG_RE_THROW();
    }
    PG_END_TRY();
    return status;
}

bool session_wait(void *context, int fd, uint32_t ms)
{
    (void)context;
    int events = WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, fd,
                                   (long)ms, PG_WAIT_EXTENSION);

    if (events & WL_LATCH_SET)
        ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    return true;
}
