/* sdk/base/edit_distance.h: "did you mean": the known name nearest to a misspelt one. */
#ifndef BASE_EDIT_DISTANCE_H
#define BASE_EDIT_DISTANCE_H

#include <stddef.h>

/* The candidate with the smallest edit distance to name; NULL if all are farther than half of name's length (at
 * least 2). count entries of candidates. */
const char *nearest_name(const char *name, const char *const *candidates, size_t count);

#endif
