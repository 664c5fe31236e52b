/* runtime/quantize/input_tap.h: a table of ops that looks at the inputs of quantized weights while the interpreter
 * runs.
 *
 * The host as the interpreter sees it (tn_interp_host_ops), but that it takes three ops upon itself: LINEAR and MOE,
 * recorded and multiplied in float32 on all processors, and LOGITS, which is left zero since nobody reads it. A table
 * of ops has no context, so there is one tap per process.
 */
#ifndef QUANTIZE_INPUT_TAP_H
#define QUANTIZE_INPUT_TAP_H

#include "quantize/calibration.h"

#include "tenon/ops.h"

const tn_ops_table *input_tap_ops(void);
/* From here on, inputs of the calibration's groups are added to their records, as those of `sequence`, whose rows come
 * all in one batch. The calibration is borrowed until the stop. */
void input_tap_start(calibration *calibration, uint32_t sequence);
/* False: a value was not a finite number. */
bool input_tap_stop(void);

#endif
