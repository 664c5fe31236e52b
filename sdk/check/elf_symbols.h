/* sdk/check/elf_symbols.h: what a shared object exports and which libraries it asks the dynamic linker for. */
#ifndef CHECK_ELF_SYMBOLS_H
#define CHECK_ELF_SYMBOLS_H

#include "tenon/error.h"

/* Called for each name; returns nothing, since the object is read to its end. */
typedef void (*elf_visitor)(void *ctx, const char *name);

/* Visits every symbol the object defines for others, then every DT_NEEDED name. 64-bit little-endian ELF only;
 * TN_E_CORRUPT if the tables do not lie within the file. Either visitor may be NULL. */
tn_status elf_symbols_visit(const char *path, elf_visitor exported, elf_visitor needed, void *ctx, tn_error *err);

#endif
