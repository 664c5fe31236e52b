/* runtime/model/quant_method.h: what a matrix would be in if a checkpoint were quantized by a method, for weights that
 * are planned or made up. The encodings are those that quantization plugins produce for checkpoints of these methods.
 */
#ifndef MODEL_QUANT_METHOD_H
#define MODEL_QUANT_METHOD_H

#include "tenon/encoding.h"
#include "tenon/error.h"

/* Methods, for help and messages. */
#define QUANT_METHODS "awq, int4, int8, fp8"

/* The encoding of a matrix of `inputs` columns. awq and int4: 4 bits by groups of up to 128 inputs, with and without
 * zero points; int8 and fp8: a scale per output. TN_E_ARGUMENT: no such method; `key` is what it was the value of.
 * [any] */
tn_status quant_method_encoding(const char *method, uint64_t inputs, const char *key, tn_enc *ret_enc, tn_error *err);

#endif
