/* runtime/hub/hub_url.c: see hub_url.h. URLs are taken apart by libcurl, which also opens them, so the two cannot
 * disagree. */
#include "hub/hub_url.h"

#include <string.h>

typedef struct url_parts {
    char scheme[16], host[300], port[8];
    bool user;
} url_parts;

static bool get_part(const curl_library *curl, CURLU *url, CURLUPart part, unsigned flags, char *to, size_t cap)
{
    char *text = NULL;
    bool got = curl->url_get(url, part, &text, flags) == CURLUE_OK && strlen(text) < cap;
    if (got)
        strcpy(to, text);
    curl->free(text);
    return got;
}

static bool take_apart(const curl_library *curl, const char *text, url_parts *ret_parts)
{
    CURLU *url = curl->url();
    bool good = url && curl->url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;

    good = good && get_part(curl, url, CURLUPART_SCHEME, 0, ret_parts->scheme, sizeof ret_parts->scheme);
    good = good && get_part(curl, url, CURLUPART_HOST, 0, ret_parts->host, sizeof ret_parts->host);
    good = good && get_part(curl, url, CURLUPART_PORT, CURLU_DEFAULT_PORT, ret_parts->port, sizeof ret_parts->port);
    if (good) {
        char *name = NULL;
        ret_parts->user = curl->url_get(url, CURLUPART_USER, &name, 0) != CURLUE_NO_USER;
        curl->free(name);
    }
    curl->url_cleanup(url);
    return good;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0 || strcmp(host, "localhost") == 0;
}

static void origin_of(const url_parts *parts, char ret_origin[512])
{
    snprintf(ret_origin, 512, "%s://%s:%s", parts->scheme, parts->host, parts->port);
}

tn_status hub_endpoint_parse(const curl_library *curl, const char *text, hub_endpoint *ret_endpoint, tn_error *err)
{
    url_parts parts = {0};
    size_t bytes = strlen(text);

    while (bytes && text[bytes - 1] == '/')
        bytes--;
    if (bytes >= sizeof ret_endpoint->url || !take_apart(curl, text, &parts) || parts.user || strpbrk(text, "?#"))
        return tn_fail(err, TN_E_ARGUMENT, "'%.200s' is no endpoint; it takes https://HOST", text);
    bool http = strcmp(parts.scheme, "http") == 0;
    if (!http && strcmp(parts.scheme, "https") != 0)
        return tn_fail(err, TN_E_ARGUMENT, "'%.200s' is no endpoint; it takes https://HOST", text);
    if (http && !is_loopback(parts.host))
        return tn_fail(err, TN_E_ARGUMENT,
                       "'%.200s': http is for this machine alone (127.0.0.1, [::1], localhost); use https", text);
    memcpy(ret_endpoint->url, text, bytes);
    ret_endpoint->url[bytes] = '\0';
    ret_endpoint->loopback = http;
    origin_of(&parts, ret_endpoint->origin);
    return TN_OK;
}

tn_status hub_url_check(const curl_library *curl, const hub_endpoint *endpoint, const char *url, bool *ret_home,
                        tn_error *err)
{
    url_parts parts = {0};
    char origin[512];

    if (!take_apart(curl, url, &parts) || parts.user)
        return tn_fail(err, TN_E_CORRUPT, "the hub sends us to '%.200s', which is no address", url);
    bool secure = strcmp(parts.scheme, "https") == 0;
    bool near = endpoint->loopback && strcmp(parts.scheme, "http") == 0 && is_loopback(parts.host);
    if (!secure && !near)
        return tn_fail(err, TN_E_CORRUPT, "the hub sends us to '%.200s', which is not https", url);
    origin_of(&parts, origin);
    *ret_home = strcmp(origin, endpoint->origin) == 0;
    return TN_OK;
}

bool hub_url_append(char url[HUB_URL_BYTES_MAX], const char *text, bool slashes)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t used = strlen(url);

    for (; *text; text++) {
        if (used + 4 > HUB_URL_BYTES_MAX)
            return false;
        if (strchr(plain, *text) || (slashes && *text == '/'))
            url[used++] = *text;
        else
            used += (size_t)snprintf(url + used, 4, "%%%02X", (unsigned char)*text);
    }
    url[used] = '\0';
    return true;
}
