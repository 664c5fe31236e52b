/* runtime/plan/print.h: a plan, its place and its costs, for people and for programs. */
#ifndef PLAN_PRINT_H
#define PLAN_PRINT_H

#include "plan/placement.h"
#include "plan/roi.h"

#include <jansson.h>
#include <stdio.h>

/* A table of bytes by part. */
void plan_print(const memory_plan *plan, const model_config *config, FILE *out);
/* The same, the verdict, changes that help, and warnings. The reason of a misfit is left to the caller. */
void placement_print(const placement *placement, const pool *pool, const model_config *config, FILE *out);
/* All of it as an object, which the caller owns. */
json_t *placement_json(const placement *placement, const pool *pool, const model_config *config);
/* Costs with a chart, and as an object, which the caller owns. */
void roi_print(const roi *roi, FILE *out);
json_t *roi_json(const roi *roi);

#endif
