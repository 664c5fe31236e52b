/* plugins/cpu/batch.h: what a batch may ask of this backend. */
#ifndef CPU_BATCH_H
#define CPU_BATCH_H

#include "tenon/backend.h"

#define CPU_CAN \
    (TN_NEED_MASK | TN_NEED_EMBED | TN_NEED_SCORE | TN_NEED_HIDDEN | TN_NEED_PENALTY | TN_NEED_BIAS | TN_NEED_LOGITS)

#endif
