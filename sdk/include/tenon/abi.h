/* tenon/abi.h: ground rules shared by every table of the Tenon ABI.
 *
 * Growth: each struct starts with `uint32_t struct_size`, set by whoever fills it; members are only ever
 * appended. A reader tests TN_HAS before it touches a member younger than the struct's first release.
 * Types are fixed-width and no struct has hidden padding (TN_SEALED), so two compilers agree on the layout.
 *
 * Thread tags, found at the end of every function pointer's comment:
 *   [probe] any process, any thread, no device needed     [ctl]  serialised by the caller
 *   [step]  the model's step thread only                   [any]  any thread, at any time between open and close
 */
#ifndef TENON_ABI_H
#define TENON_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define TN_BEGIN_DECLS extern "C" {
#define TN_END_DECLS }
#define TN_STATIC_ASSERT(condition, message) static_assert(condition, message)
#else
#define TN_BEGIN_DECLS
#define TN_END_DECLS
#define TN_STATIC_ASSERT(condition, message) _Static_assert(condition, message)
#endif

#if defined(__GNUC__)
#define TN_EXPORT __attribute__((visibility("default")))
#define TN_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define TN_EXPORT
#define TN_PRINTF(format_at, args_at)
#endif

TN_STATIC_ASSERT(sizeof(void *) == 8, "Tenon supports LP64 platforms only");

/* The ABI this SDK describes. A minor step appends members; a major step may break everything. */
#define TN_ABI_MAJOR 1
#define TN_ABI_MINOR 2

/* One past the last byte of member m. */
#define TN_END(type, m) (offsetof(type, m) + sizeof(((type *)0)->m))
/* Names a struct's last member: fails to compile when padding follows it. */
#define TN_SEALED(type, last) \
    TN_STATIC_ASSERT(sizeof(type) == TN_END(type, last), #type ": tail padding, or 'last' is stale")
/* True if the struct p points to, as its filler sized it, holds member m. */
#define TN_HAS(p, type, m) ((p)->struct_size >= TN_END(type, m))

#endif
