/* runtime/quantize/calibration_log.c: an append-only file of records, each with its length and a hash of its bytes.
 *
 * The end of the file is where the first record begins that is not whole. Records are not synced one by one: a kill
 * keeps what was written, and what a power cut takes, the hash shows.
 */
#include "quantize/calibration.h"

#include "engine/siphash.h"
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAGIC 0x31676f6c6c616374u /* "tcallog1" */

typedef struct log_head {
    uint64_t magic, fingerprint[2];
} log_head;

typedef struct record_head {
    uint32_t kind, index;
    uint64_t bytes, hash[2];
} record_head;

static const uint64_t hash_key[2] = {0x63616c6962726174u, 0x696f6e206c6f6721u};

static tn_status io_error(const calibration *c, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.400s: %s", c->path, strerror(errno));
}

/* False: the file ends before. */
static bool read_all(const calibration *c, void *data, uint64_t bytes, uint64_t at)
{
    char *to = data;

    while (bytes) {
        ssize_t count = pread(c->log, to, bytes < (1u << 30) ? bytes : 1u << 30, (off_t)at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        to += count;
        at += (uint64_t)count;
        bytes -= (uint64_t)count;
    }
    return true;
}

/* Where a record of this head goes and how long it must be; NULL: there is no such record. */
static void **slot_of(calibration *c, const record_head *head, uint64_t *ret_bytes)
{
    if (head->kind == LOG_SEQUENCE && head->index < c->text->sequences) {
        *ret_bytes = c->record_bytes;
        return (void **)&c->records[head->index];
    }
    if (head->kind == LOG_SCALES && head->index < c->groups.count) {
        *ret_bytes = c->groups.groups[head->index].columns * sizeof(float);
        return (void **)&c->scales[head->index];
    }
    return NULL;
}

/* Takes the record at *at and moves it on. *ret_whole false: the log ends here. */
static tn_status read_record(calibration *c, uint64_t *at, bool *ret_whole, tn_error *err)
{
    record_head head;
    uint64_t bytes = 0;

    *ret_whole = false;
    if (!read_all(c, &head, sizeof head, *at))
        return TN_OK;
    void **slot = slot_of(c, &head, &bytes);
    if (!slot || *slot || head.bytes != bytes)
        return TN_OK;
    void *data = malloc(bytes);
    if (!data)
        return tn_fail(err, TN_E_MEMORY, "%.400s: a record of %llu bytes", c->path, (unsigned long long)bytes);
    bool whole = read_all(c, data, bytes, *at + sizeof head);
    hash128 hash = siphash_128(hash_key, data, whole ? bytes : 0);
    if (!whole || hash.low != head.hash[0] || hash.high != head.hash[1]) {
        free(data);
        return TN_OK;
    }
    *slot = data;
    *at += sizeof head + bytes;
    *ret_whole = true;
    return TN_OK;
}

tn_status calibration_log_open(calibration *c, const uint64_t fingerprint[2], tn_error *err)
{
    log_head head, expected = {LOG_MAGIC, {fingerprint[0], fingerprint[1]}};
    struct stat entry;
    bool whole = true;
    uint64_t at = sizeof head;
    tn_status status = TN_OK;

    c->log = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (c->log < 0 || fstat(c->log, &entry) != 0)
        return io_error(c, err);
    if (!S_ISREG(entry.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "%.400s is not a regular file: remove it", c->path);
    if (!read_all(c, &head, sizeof head, 0))
        at = 0;
    else if (memcmp(&head, &expected, sizeof head) != 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.400s is of another model, text or made with other settings: give an empty directory",
                       c->path);
    while (at && whole && status == TN_OK)
        status = read_record(c, &at, &whole, err);
    if (status == TN_OK && (ftruncate(c->log, (off_t)at) != 0 || lseek(c->log, (off_t)at, SEEK_SET) < 0))
        status = io_error(c, err);
    if (status == TN_OK && !at && !write_all(c->log, &expected, sizeof expected))
        status = io_error(c, err);
    return status;
}

tn_status calibration_log_add(calibration *c, uint32_t kind, uint32_t index, const void *data, uint64_t bytes,
                              tn_error *err)
{
    hash128 hash = siphash_128(hash_key, data, bytes);
    const record_head head = {kind, index, bytes, {hash.low, hash.high}};

    return write_all(c->log, &head, sizeof head) && write_all(c->log, data, bytes) ? TN_OK : io_error(c, err);
}
