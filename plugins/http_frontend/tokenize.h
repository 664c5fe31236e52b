/* tokenize.h: POST /tokenize and /detokenize, in vLLM's shapes. */
#ifndef HTTP_TOKENIZE_H
#define HTTP_TOKENIZE_H

#include "call_params.h"
#include "model.h"

tn_status tokenize_answer(http_model *model, json_t *root, byte_buffer *out, api_error *error);
tn_status detokenize_answer(http_model *model, json_t *root, byte_buffer *out, api_error *error);

#endif
