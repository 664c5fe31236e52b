/* server.c: see server.h. */
#include "client/server.h"

#include <stdbool.h>
#include <string.h>

static bool is_plain(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

static tn_status parse_socket(const char *address, client_server *server, tn_error *err)
{
    const char *path = address + strlen("unix:");

    if (path[0] != '/')
        return tn_fail(err, TN_E_ARGUMENT, "'%.200s': the path after 'unix:' must begin with '/'", address);
    if (strlen(path) >= sizeof server->socket_path)
        return tn_fail(err, TN_E_ARGUMENT, "'%.200s': the path of a socket may have at most %zu bytes", address,
                       sizeof server->socket_path - 1);
    snprintf(server->socket_path, sizeof server->socket_path, "%s", path);
    snprintf(server->url, sizeof server->url, "http://localhost");
    return TN_OK;
}

static tn_status parse_url(const char *address, client_server *server, tn_error *err)
{
    const char *host = strstr(address, "://") + 3;
    size_t bytes = strlen(address);

    while (bytes > 0 && address[bytes - 1] == '/')
        bytes--;
    if (bytes >= sizeof server->url)
        return tn_fail(err, TN_E_ARGUMENT, "'%.100s...': a server's URL may have at most %zu bytes", address,
                       sizeof server->url - 1);
    if (address + bytes <= host || strpbrk(host, "?#@") || !is_plain(address))
        return tn_fail(err, TN_E_ARGUMENT,
                       "'%.200s' is not http://HOST:PORT: it must name a host and nothing behind it", address);
    snprintf(server->url, sizeof server->url, "%.*s", (int)bytes, address);
    return TN_OK;
}

tn_status client_server_parse(const char *address, const char *api_key, client_server *ret_server, tn_error *err)
{
    client_server server = {.url = ""};
    tn_status status;

    if (api_key && strlen(api_key) >= sizeof server.api_key)
        return tn_fail(err, TN_E_ARGUMENT, "an API key may have at most %zu bytes", sizeof server.api_key - 1);
    if (api_key && !is_plain(api_key))
        return tn_fail(err, TN_E_ARGUMENT, "an API key may hold printable ASCII without spaces only");
    if (strncmp(address, "unix:", 5) == 0)
        status = parse_socket(address, &server, err);
    else if (strncmp(address, "http://", 7) == 0 || strncmp(address, "https://", 8) == 0)
        status = parse_url(address, &server, err);
    else
        status =
            tn_fail(err, TN_E_ARGUMENT, "'%.200s' is not unix:/path, http://HOST:PORT or https://HOST:PORT", address);
    if (status != TN_OK)
        return status;
    snprintf(server.api_key, sizeof server.api_key, "%s", api_key ? api_key : "");
    *ret_server = server;
    return TN_OK;
}
