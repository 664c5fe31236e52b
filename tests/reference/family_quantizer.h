/* tests/reference/family_quantizer.h: a quantizer between a checkpoint of floats and the core, that gives every matrix
 * which can have it one canonical encoding; scales are merely the largest of a group, or its span where there are zeros.
 * Permuted, every matrix has an order of columns of its own, but for one expert in each layer, whose is as it was.
 */
#ifndef TESTS_FAMILY_QUANTIZER_H
#define TESTS_FAMILY_QUANTIZER_H

#include "family_case.h"

#include "tenon/quant.h"

/* floats: whose models it quantizes. */
void family_quantizer_begin(const tn_quant_table *floats);
/* One level of scales; the next model to be opened has it. */
void family_quantizer_choose(tn_enc enc);
extern const tn_quant_table family_quantizer;

#endif
