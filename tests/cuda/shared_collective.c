/* shared_collective.c: see shared_collective.h. Every rank has a slot, a count of what it has put there, and a count of
 * what it has read of the others'. Ranks look every few microseconds.
 */
#include "shared_collective.h"

#include "base/hex.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 64, SLOT_BYTES = 1 << 16, PAUSE_NS = 20000 };

typedef struct shared_file {
    _Atomic uint32_t present;
    _Atomic uint64_t shown[RANKS], taken[RANKS]; /* pieces, counted from 1 */
    uint8_t slot[][SLOT_BYTES];
} shared_file;

typedef struct shared_collective {
    collective base;
    uint32_t world;
    size_t bytes;
    shared_file *file;
    uint64_t piece[RANKS]; /* of each rank here, by its own thread */
    _Atomic bool aborted;
} shared_collective;

static shared_collective *shared_of(collective *c)
{
    return (shared_collective *)c;
}

/* Until every rank's count has come to `piece`. */
static tn_status await(const shared_collective *s, const _Atomic uint64_t *counts, uint64_t piece, tn_error *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (uint32_t r = 0; r < s->world;) {
        if (atomic_load(&s->aborted))
            return tn_fail(err, TN_E_CANCELLED, "the ranks' work was aborted");
        if (atomic_load(&counts[r]) >= piece)
            r++;
        else
            nanosleep(&pause, NULL);
    }
    return TN_OK;
}

static tn_status shared_all_gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes,
                                   cuda_stream stream, tn_error *err)
{
    shared_collective *s = shared_of(c);
    tn_status status = TN_OK;

    (void)stream;
    for (uint64_t at = 0; at < bytes && status == TN_OK; at += SLOT_BYTES) {
        const uint64_t n = bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES, piece = ++s->piece[rank];
        memcpy(s->file->slot[rank], (const uint8_t *)in + at, n);
        atomic_store(&s->file->shown[rank], piece);
        status = await(s, s->file->shown, piece, err);
        for (uint32_t r = 0; r < s->world && status == TN_OK; r++)
            memcpy((uint8_t *)out + r * bytes + at, s->file->slot[r], n);
        atomic_store(&s->file->taken[rank], piece);
        if (status == TN_OK)
            status = await(s, s->file->taken, piece, err);
    }
    return status;
}

static void shared_abort(collective *c)
{
    atomic_store(&shared_of(c)->aborted, true);
}

static void shared_destroy(collective *c)
{
    shared_collective *s = shared_of(c);

    if (s->file)
        munmap(s->file, s->bytes);
    free(s);
}

static tn_status map(shared_collective *s, const char *path, tn_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *file = fd >= 0 && ftruncate(fd, (off_t)s->bytes) == 0
                     ? mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                     : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (file == MAP_FAILED)
        return tn_fail(err, TN_E_IO, "cannot share %s", path);
    s->file = file;
    return TN_OK;
}

tn_status shared_collective_create(const collective_place *place, collective **ret, tn_error *err)
{
    static const collective_api api = {
        .all_gather = shared_all_gather, .abort = shared_abort, .destroy = shared_destroy};
    char name[33], path[80];
    shared_collective *s = calloc(1, sizeof *s);

    TN_ASSERT(s && place->world <= RANKS);
    s->base.api = &api;
    s->world = place->world;
    s->bytes = sizeof *s->file + (size_t)place->world * SLOT_BYTES;
    hex_of(place->id, 16, name);
    snprintf(path, sizeof path, "/dev/shm/tenon-test-%s", name);
    tn_status status = map(s, path, err);
    if (status != TN_OK) {
        shared_destroy(&s->base);
        return status;
    }
    if (atomic_fetch_add(&s->file->present, place->count) + place->count == place->world)
        unlink(path);
    *ret = &s->base;
    return TN_OK;
}
