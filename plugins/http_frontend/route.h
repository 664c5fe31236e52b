/* route.h: which path, with which method, is served by what. */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum route_id {
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_VERSION,
    ROUTE_METRICS,
    ROUTE_MODELS,
    ROUTE_MODEL,
    ROUTE_CHAT,
    ROUTE_COMPLETIONS,
    ROUTE_TOKENIZE,
    ROUTE_DETOKENIZE,
    ROUTE_ADMIN,
    ROUTE_FILES,
    ROUTE_BATCHES,
    ROUTE_CONSOLE
} route_id;

typedef struct http_route {
    route_id id;
    const char *path; /* ROUTE_MODEL: a prefix of the model's name; of the console and of those that tn.admin answers:
                         of all below */
    bool post;        /* POST with a JSON body; otherwise GET or HEAD */
    bool open;        /* served without a key; scopes of tokens are tn.auth's to know */
    bool works;       /* occupies the engine or the processor: refused while draining */
} http_route;

/* Whether tn.admin answers it. */
bool route_is_passed_on(const http_route *route);
/* NULL: no such path. A trailing slash is not a different path. */
const http_route *route_find(const char *path);
/* All of them, for who walks the table: NULL past the last. */
const http_route *route_at(size_t index);
bool route_allows(const http_route *route, const char *method);

#endif
