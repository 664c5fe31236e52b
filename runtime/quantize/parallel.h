/* runtime/quantize/parallel.h: one piece of work, cut into ranges, on all processors. */
#ifndef QUANTIZE_PARALLEL_H
#define QUANTIZE_PARALLEL_H

#include <stdint.h>

/* Works on [begin, end). Several calls at once, on ranges that do not overlap. */
typedef void (*parallel_work)(void *ctx, uint64_t begin, uint64_t end);
/* Runs work over [0, count), cut at multiples of `unit`, and returns when all of it is done. The caller's thread takes
 * part, and does alone what no thread could be started for. [ctl] */
void parallel_run(uint64_t count, uint64_t unit, parallel_work work, void *ctx);

#endif
