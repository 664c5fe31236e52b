/* route.c: all routes in one table, searched in order. */
#include "route.h"

#include <string.h>

static const http_route routes[] = {
    {ROUTE_CHAT, "/v1/chat/completions", true, false, true},
    {ROUTE_COMPLETIONS, "/v1/completions", true, false, true},
    {ROUTE_TOKENIZE, "/tokenize", true, false, true},
    {ROUTE_DETOKENIZE, "/detokenize", true, false, true},
    {ROUTE_MODELS, "/v1/models", false, false, false},
    {ROUTE_HEALTH, "/health", false, true, false},
    {ROUTE_READY, "/ready", false, true, false},
    {ROUTE_METRICS, "/metrics", false, false, false},
    {ROUTE_VERSION, "/version", false, false, false},
    {ROUTE_MODEL, "/v1/models/", false, false, false},
    {ROUTE_ADMIN, "/admin/v1", false, false, false},
    {ROUTE_CONSOLE, "/admin", false, true, false},
    {ROUTE_FILES, "/v1/files", false, false, false},
    {ROUTE_BATCHES, "/v1/batches", false, false, false},
};

bool route_is_passed_on(const http_route *route)
{
    return route->id == ROUTE_ADMIN || route->id == ROUTE_FILES || route->id == ROUTE_BATCHES;
}

const http_route *route_find(const char *path)
{
    size_t bytes = strlen(path);
    size_t trimmed = bytes > 1 && path[bytes - 1] == '/' ? bytes - 1 : bytes;

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t known = strlen(routes[i].path);
        bool below = route_is_passed_on(&routes[i]) || routes[i].id == ROUTE_CONSOLE;
        if (below && strncmp(path, routes[i].path, known) == 0 && path[known] == '/')
            return &routes[i];
        if (routes[i].id == ROUTE_MODEL && bytes > known && memcmp(path, routes[i].path, known) == 0)
            return &routes[i];
        if (known == trimmed && memcmp(path, routes[i].path, trimmed) == 0)
            return &routes[i];
    }
    return NULL;
}

const http_route *route_at(size_t index)
{
    return index < sizeof routes / sizeof *routes ? &routes[index] : NULL;
}

bool route_allows(const http_route *route, const char *method)
{
    if (route_is_passed_on(route)) /* which of them what takes is tn.admin's to say */
        return true;
    if (route->post)
        return strcmp(method, "POST") == 0;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}
