/* sdk/check/report.h: findings of tenon-check, one line each, counted.
 *
 * A plugin under test may crash. So that its author learns where, the name of the running check is kept where a signal
 * handler can print it.
 */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct report {
    uint32_t passed, failed, skipped;
} report;

/* Prints crashes as failures of the running check. Call once. */
void report_catch_crashes(void);
/* Names what runs next; each of the three below ends it. */
void report_begin(const char *check);
void report_pass(report *report, const char *format, ...) TN_PRINTF(2, 3); /* format: what was seen */
void report_fail(report *report, const char *format, ...) TN_PRINTF(2, 3); /* what was found and expected */
void report_skip(report *report, const char *format, ...) TN_PRINTF(2, 3); /* why */
/* What a failed call has said or, when it said nothing, the text of its status. Borrowed from err. */
const char *report_reason(tn_status status, const tn_error *err);

#endif
