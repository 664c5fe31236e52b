/* runtime/quantize/scale_search.h: the scales of one group that make the rounded weights' products err the least. */
#ifndef QUANTIZE_SCALE_SEARCH_H
#define QUANTIZE_SCALE_SEARCH_H

#include "quantize/calibration.h"

/* The group's record is in memory. ret_scales: malloc'ed [columns of the group], each finite and above 0; all 1 if the
 * group has nowhere to put their inverse. Errors name the tensor. */
tn_status scale_search(const calibration *calibration, uint32_t group, const tn_source *source, uint32_t group_size,
                       float **ret_scales, tn_error *err);

#endif
