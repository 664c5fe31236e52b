/* runtime/registry/tar.c: see tar.h. Fields by offset: name 0, mode 100, uid 108, gid 116, size 124, mtime 136,
 * checksum 148, type 156, magic 257.
 */
#include "registry/tar.h"

#include <string.h>

enum { SIZE_AT = 124, SIZE_BYTES = 12, SUM_AT = 148, SUM_BYTES = 8, TYPE_AT = 156, MAGIC_AT = 257 };

static uint32_t checksum(const uint8_t block[TAR_BLOCK])
{
    uint32_t sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_BYTES ? ' ' : block[i];
    return sum;
}

static void write_size(uint64_t bytes, uint8_t field[SIZE_BYTES])
{
    if (bytes < 1ull << 33) {
        snprintf((char *)field, SIZE_BYTES, "%011llo", (unsigned long long)bytes);
        return;
    }
    memset(field, 0, SIZE_BYTES);
    field[0] = 0x80;
    for (int i = SIZE_BYTES - 1; bytes; i--, bytes >>= 8)
        field[i] = (uint8_t)bytes;
}

void tar_write_header(const char *name, uint64_t bytes, uint8_t ret_block[TAR_BLOCK])
{
    size_t name_bytes = strlen(name);

    TN_ASSERT(name_bytes <= TAR_NAME_BYTES_MAX);
    memset(ret_block, 0, TAR_BLOCK);
    memcpy(ret_block, name, name_bytes);
    memcpy(ret_block + 100, "0000444", 8);
    memcpy(ret_block + 108, "0000000", 8);
    memcpy(ret_block + 116, "0000000", 8);
    memcpy(ret_block + 136, "00000000000", 12);
    write_size(bytes, ret_block + SIZE_AT);
    ret_block[TYPE_AT] = '0';
    memcpy(ret_block + MAGIC_AT, "ustar\00000", 8);
    snprintf((char *)ret_block + SUM_AT, 7, "%06o", checksum(ret_block));
    ret_block[SUM_AT + 7] = ' ';
}

uint64_t tar_padding(uint64_t bytes)
{
    return (TAR_BLOCK - bytes % TAR_BLOCK) % TAR_BLOCK;
}

/* Octal digits that a space or a zero byte ends. */
static bool read_octal(const uint8_t *field, size_t bytes, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t i = 0;

    while (i < bytes && field[i] == ' ')
        i++;
    size_t first = i;
    for (; i < bytes && field[i] >= '0' && field[i] <= '7'; i++)
        number = number << 3 | (uint64_t)(field[i] - '0');
    if (i == first || (i < bytes && field[i] != ' ' && field[i] != '\0'))
        return false;
    *ret_number = number;
    return true;
}

static bool read_size(const uint8_t field[SIZE_BYTES], uint64_t *ret_bytes)
{
    uint64_t bytes = 0;

    if (field[0] != 0x80)
        return read_octal(field, SIZE_BYTES, ret_bytes);
    for (int i = 1; i < SIZE_BYTES; i++) {
        if (i < 4 && field[i])
            return false; /* above 64 bits */
        bytes = bytes << 8 | field[i];
    }
    *ret_bytes = bytes;
    return bytes <= INT64_MAX;
}

static bool is_zero(const uint8_t block[TAR_BLOCK])
{
    for (int i = 0; i < TAR_BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

tn_status tar_read_header(const char *where, const uint8_t block[TAR_BLOCK], char ret_name[TAR_NAME_BYTES_MAX + 1],
                          uint64_t *ret_bytes, bool *ret_end, tn_error *err)
{
    uint64_t sum;

    *ret_end = is_zero(block);
    if (*ret_end)
        return TN_OK;
    if (memcmp(block + MAGIC_AT, "ustar", 5) != 0 || !read_octal(block + SUM_AT, SUM_BYTES, &sum) ||
        sum != checksum(block))
        return tn_fail(err, TN_E_CORRUPT, "%.300s: it is no tar file, or damaged", where);
    if ((block[TYPE_AT] != '0' && block[TYPE_AT] != '\0') || block[345] || block[TAR_NAME_BYTES_MAX])
        return tn_fail(err, TN_E_CORRUPT, "%.300s: a bundle holds plain files with short names only", where);
    if (!read_size(block + SIZE_AT, ret_bytes))
        return tn_fail(err, TN_E_CORRUPT, "%.300s: the size of a member is not a number of bytes", where);
    memcpy(ret_name, block, TAR_NAME_BYTES_MAX + 1);
    return TN_OK;
}
