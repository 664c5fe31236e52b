/* json_writer.h: JSON text appended to a byte_buffer. The output is always valid JSON in UTF-8, whatever the input. */
#ifndef HTTP_JSON_WRITER_H
#define HTTP_JSON_WRITER_H

#include "byte_buffer.h"

/* A quoted string. Ill-formed UTF-8 becomes U+FFFD, one per maximal subpart. */
void json_write_string(byte_buffer *out, const char *bytes, size_t n);
void json_write_text(byte_buffer *out, const char *text); /* NULL gives null */
void json_write_integer(byte_buffer *out, int64_t value);
/* The shortest digits that read back as the same float. JSON has no infinities: -inf and NaN give -9999, vLLM's
 * stand-in for the log-prob of a token that cannot occur. */
void json_write_logprob(byte_buffer *out, float value);

#endif
