/* answer_cache.h: answers of scalar functions by the whole of their request.
 *
 * SQLite evaluates an expression once for every reference to it (SELECT llm_complete(...) AS a ... WHERE a ... ORDER BY
 * a); without this each would be a request. Only what cannot come out differently is kept (greedy, or with a seed),
 * least recently used first out, 512 answers or 8 MiB of them. What /v1/models says is the version they belong to.
 */
#ifndef SQLITE_ANSWER_CACHE_H
#define SQLITE_ANSWER_CACHE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct answer_cache answer_cache;

answer_cache *answer_cache_create(void);        /* NULL: out of memory */
void answer_cache_destroy(answer_cache *cache); /* NULL is fine */
void answer_cache_clear(answer_cache *cache);
/* Whether the models must be asked for again: a second after the last time. */
bool answer_cache_is_old(const answer_cache *cache);
/* The version is this one now; true if it was another, whose answers are forgotten. */
bool answer_cache_renew(answer_cache *cache, const char *version);
/* The answer, borrowed until the next put or clear; NULL if there is none. */
const char *answer_cache_get(answer_cache *cache, const char *path, const char *body, size_t *ret_bytes);
/* Copies; an answer that does not fit or finds no memory is not kept. */
void answer_cache_put(answer_cache *cache, const char *path, const char *body, const char *answer, size_t bytes);

#endif
