/* edit_distance.c: optimal string alignment distance (insert, delete, replace, swap neighbours), names up to 63 bytes.
 */
#include "base/edit_distance.h"

#include <string.h>

enum { NAME_BYTES_MAX = 63 };

static size_t min2(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    size_t rows[3][NAME_BYTES_MAX + 1];

    for (size_t j = 0; j <= b_bytes; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            row[j] = min2(min2(row[j - 1], above[j]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min2(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

const char *nearest_name(const char *name, const char *const *candidates, size_t count)
{
    size_t name_bytes = min2(strlen(name), NAME_BYTES_MAX);
    size_t limit = name_bytes / 2 > 2 ? name_bytes / 2 : 2;
    const char *nearest = NULL;

    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, name_bytes, candidates[i], min2(strlen(candidates[i]), NAME_BYTES_MAX));
        if (distance <= limit && (!nearest || distance < limit)) {
            nearest = candidates[i];
            limit = distance;
        }
    }
    return nearest;
}
