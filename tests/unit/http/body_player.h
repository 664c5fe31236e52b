/* body_player.h: a request body through the front end without sockets or threads: parsed, submitted to nobody, and
 * played to its end with made-up events. */
#ifndef TESTS_BODY_PLAYER_H
#define TESTS_BODY_PLAYER_H

#include "answer.h"

/* route: c(hat), t(ext), k (tokenize), d(etokenize). *ret_out: the answer's body or the stream, checked to be JSON; the
 * caller finishes it. Without memory for the answer: TN_E_MEMORY. */
tn_status body_play(char route, const char *bytes, size_t n, byte_buffer *ret_out, api_error *error);
void body_player_finish(void); /* frees what the first call set up */
/* Stops the process unless the bytes are one JSON object. */
void body_expect_json(const char *bytes, size_t n);

#endif
