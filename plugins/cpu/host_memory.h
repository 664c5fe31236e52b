/* plugins/cpu/host_memory.h: large zeroed blocks, and what the machine and its control group allow this process. */
#ifndef CPU_HOST_MEMORY_H
#define CPU_HOST_MEMORY_H

#include "tenon/error.h"

#include <stdint.h>

/* Zeroed pages from the kernel, huge ones where it has them; 4096-byte aligned. what: for the message. bytes = 0 gives
 * NULL. [ctl] */
tn_status memory_map(uint64_t bytes, const char *what, uint8_t **ret_block, tn_error *err);
/* NULL is fine. bytes as mapped. */
void memory_unmap(uint8_t *block, uint64_t bytes);
/* Bytes of RAM that this process may use in all, and those still free. */
void memory_limits(uint64_t *ret_total, uint64_t *ret_free);
/* Whole CPUs of the control group's quota, rounded up; 0: no quota. */
uint32_t memory_cgroup_cpus(void);

#endif
