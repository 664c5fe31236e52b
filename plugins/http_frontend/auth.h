/* auth.h: API keys, compared in constant time. */
#ifndef HTTP_AUTH_H
#define HTTP_AUTH_H

#include <stdbool.h>
#include <stdint.h>

/* authorization: the header's value, NULL if absent. True when it is "Bearer KEY" with one of the keys. The time
 * depends on the length of what the client sent and on the number of keys, not on how much of a key was right. */
bool auth_accepts(const char *authorization, char *const *keys, uint32_t key_count);

#endif
