/* runtime/registry/tar.h: the few tar files that a bundle is: plain members with short names, one after the other
 * (POSIX ustar; sizes from 8 GiB on as GNU tar writes them, in base 256). Any tar lists and unpacks them. A tar file
 * read is hostile.
 */
#ifndef REGISTRY_TAR_H
#define REGISTRY_TAR_H

#include "tenon/error.h"

#include <stdbool.h>

enum { TAR_BLOCK = 512, TAR_NAME_BYTES_MAX = 99 };

/* The block before a member's bytes. name: at most TAR_NAME_BYTES_MAX bytes. */
void tar_write_header(const char *name, uint64_t bytes, uint8_t ret_block[TAR_BLOCK]);
/* Bytes that fill a member up to whole blocks. */
uint64_t tar_padding(uint64_t bytes);

/* where begins messages. Only plain members with a right checksum pass; *ret_end: the block of zeros that ends the
 * file. */
tn_status tar_read_header(const char *where, const uint8_t block[TAR_BLOCK], char ret_name[TAR_NAME_BYTES_MAX + 1],
                          uint64_t *ret_bytes, bool *ret_end, tn_error *err);

#endif
