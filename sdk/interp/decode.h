/* sdk/interp/decode.h: canonical encodings (tenon/encoding.h) to float32, by the letter of their definition. */
#ifndef INTERP_DECODE_H
#define INTERP_DECODE_H

#include "tenon/encoding.h"
#include "tenon/error.h"

/* TN_OK if interp_decode_row understands enc; TN_E_UNSUPPORTED says what it does not. [any] */
tn_status interp_decode_check(const tn_enc *enc, tn_error *err);
/* Row `row` of a block (0-based within it) into out[planes->n_k]. enc has been checked. [any] */
void interp_decode_row(const tn_enc *enc, const tn_planes *planes, uint64_t row, float *out);

#endif
