/* tests/faults/fail_nth.h: makes the nth allocation fail, for every n, while an action runs.
 *
 * Link with the wrap arguments of meson.build: allocations of our objects and of jansson are counted, those inside libc
 * are not. The action must fail with TN_E_MEMORY as long as one of its allocations does, and leak nothing (the leak
 * sanitizer looks).
 */
#ifndef TESTS_FAIL_NTH_H
#define TESTS_FAIL_NTH_H

#include "tenon/error.h"

#include <stdbool.h>

/* Runs the action with allocation 1 failing, then 2, ... until it succeeds. exact: the status must be TN_E_MEMORY;
 * without, any failure will do (jansson reports some of its own as bad JSON). Returns how many failures the action
 * lived through; stops the process on a wrong status or an empty message. */
uint32_t fail_every_allocation(tn_status (*action)(tn_error *err), bool exact);
/* The same with allocation 1, then 1 + stride, 1 + 2 stride, ... failing. */
uint32_t fail_allocations(tn_status (*action)(tn_error *err), bool exact, uint32_t stride);

/* The nth allocation from now on fails; 0: none. For what may live through a failure, and must then have done its work. */
void fail_allocation(uint32_t n);

#endif
