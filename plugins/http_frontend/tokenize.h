/* tokenize.h: POST /tokenize and /detokenize, in vLLM's shapes. */
#ifndef HTTP_TOKENIZE_H
#define HTTP_TOKENIZE_H

#include "call_params.h"
#include "front.h"

tn_status tokenize_answer(tn_front *front, json_t *root, byte_buffer *out, api_error *error);
tn_status detokenize_answer(tn_front *front, json_t *root, byte_buffer *out, api_error *error);

#endif
