/* runtime/quantize/calibration_log.c: an append-only file of records, each with its length and a hash of its bytes.
 *
 * The end of the file is where the first record begins that is not whole. Records are synced layer by layer: a kill
 * keeps what was written, and what a power cut takes, the hash shows. Inputs stay in the file until they are asked for.
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

#define LOG_MAGIC 0x32676f6c6c616374u /* "tcallog2" */
enum { HEAD_BYTES_MAX = 1 << 16 };

typedef struct log_head {
    uint64_t magic, bytes; /* of the text that follows */
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

/* How long a record of this head must be; 0: there is no such record, or it is here already. */
static uint64_t expected_bytes(const calibration *c, const record_head *head)
{
    if (head->index >= c->groups.count)
        return 0;
    const calibration_input *input = &c->inputs[head->index];
    if (head->kind == LOG_INPUT && !input->record_at)
        return calibration_record_bytes(c, head->index);
    if (head->kind == LOG_SCALES && !input->scales)
        return c->groups.groups[head->index].columns * sizeof(float);
    return 0;
}

/* Takes the record at *at and moves it on. *ret_whole false: the log ends here. */
static tn_status read_record(calibration *c, uint64_t *at, bool *ret_whole, tn_error *err)
{
    record_head head;
    uint64_t data_at = *at + sizeof head;

    *ret_whole = false;
    if (!read_all(c->log, &head, sizeof head, *at))
        return TN_OK;
    uint64_t bytes = expected_bytes(c, &head);
    if (!bytes || head.bytes != bytes)
        return TN_OK;
    void *data = malloc(bytes);
    if (!data)
        return tn_fail(err, TN_E_MEMORY, "%.400s: a record of %llu bytes", c->path, (unsigned long long)bytes);
    bool whole = read_all(c->log, data, bytes, data_at);
    hash128 hash = siphash_128(hash_key, data, whole ? bytes : 0);
    *ret_whole = whole && hash.low == head.hash[0] && hash.high == head.hash[1];
    if (*ret_whole) {
        *at = data_at + bytes;
        if (head.kind == LOG_INPUT)
            c->inputs[head.index].record_at = data_at;
        else
            c->inputs[head.index].scales = data;
    }
    if (!*ret_whole || head.kind == LOG_INPUT)
        free(data);
    return TN_OK;
}

/* The head says of which run the log is, in the words of provenance.h. *ret_end: where records begin, 0 if there is no
 * whole head. */
static tn_status read_head(const calibration *c, const provenance *provenance, uint64_t *ret_end, tn_error *err)
{
    log_head head;

    *ret_end = 0;
    if (!read_all(c->log, &head, sizeof head, 0))
        return TN_OK;
    if (head.magic != LOG_MAGIC || head.bytes > HEAD_BYTES_MAX)
        return provenance_refuse_stranger(c->path, err);
    char *text = malloc(head.bytes + 1);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "head of %.400s", c->path);
    bool whole = read_all(c->log, text, head.bytes, sizeof head);
    tn_status status = whole ? provenance_check(provenance, text, head.bytes, c->path, err) : TN_OK;
    free(text);
    *ret_end = whole ? sizeof head + head.bytes : 0;
    return status;
}

static tn_status write_head(calibration *c, const provenance *provenance, tn_error *err)
{
    char *text = provenance_text(provenance);

    if (!text)
        return tn_fail(err, TN_E_MEMORY, "head of %.400s", c->path);
    const log_head head = {LOG_MAGIC, strlen(text)};
    bool written = write_all(c->log, &head, sizeof head) && write_all(c->log, text, head.bytes);
    c->log_end = sizeof head + head.bytes;
    free(text);
    return written ? TN_OK : io_error(c, err);
}

tn_status calibration_log_open(calibration *c, const provenance *provenance, tn_error *err)
{
    struct stat entry;
    bool whole = true;

    c->log = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (c->log < 0 || fstat(c->log, &entry) != 0)
        return io_error(c, err);
    if (!S_ISREG(entry.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "%.400s is not a regular file: remove it", c->path);
    tn_status status = read_head(c, provenance, &c->log_end, err);
    while (c->log_end && whole && status == TN_OK)
        status = read_record(c, &c->log_end, &whole, err);
    if (status == TN_OK &&
        (ftruncate(c->log, (off_t)c->log_end) != 0 || lseek(c->log, (off_t)c->log_end, SEEK_SET) < 0))
        status = io_error(c, err);
    return status == TN_OK && !c->log_end ? write_head(c, provenance, err) : status;
}

tn_status calibration_log_add(calibration *c, uint32_t kind, uint32_t index, const void *data, uint64_t bytes,
                              uint64_t *ret_at, tn_error *err)
{
    hash128 hash = siphash_128(hash_key, data, bytes);
    const record_head head = {kind, index, bytes, {hash.low, hash.high}};

    if (!write_all(c->log, &head, sizeof head) || !write_all(c->log, data, bytes))
        return io_error(c, err);
    *ret_at = c->log_end + sizeof head;
    c->log_end += sizeof head + bytes;
    return TN_OK;
}

tn_status calibration_log_sync(const calibration *c, tn_error *err)
{
    return fdatasync(c->log) == 0 ? TN_OK : io_error(c, err);
}

tn_status calibration_log_read(const calibration *c, uint64_t at, void *ret_data, uint64_t bytes, tn_error *err)
{
    errno = EIO; /* of a file that ends before */
    return read_all(c->log, ret_data, bytes, at) ? TN_OK : io_error(c, err);
}
