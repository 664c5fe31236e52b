/* file_store.c: a store in a folder that all members share. Files appear whole (written aside, fsynced, then linked or
 * renamed) and are looked for again and again, since no notice crosses a network file system.
 *
 *   FOLDER/GROUP/join.RANK    who wants in: world size and a fresh nonce
 *   FOLDER/GROUP/round        by rank 0: the name of this run's folder, and
 *                             of each rank its nonce and whether it may come
 *   FOLDER/GROUP/run.HEX/     this run's: here.RANK, key.NAME, abort, left.RANK
 *
 * A process heeds a round only if its own nonce is in it, and a run is known to rank 0 to be joined only when here.RANK
 * is in its folder; so neither side can take what an earlier run left for this one's.
 */
#include "base/hex.h"
#include "group/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NONCE_BYTES = 16, NONCE_TEXT = 2 * NONCE_BYTES, FILE_NAME_MAX = TN_RENDEZVOUS_KEY_MAX + 32 };
enum { ROUND_LINE = NONCE_TEXT + 2, ROUND_MAX = (1 + STORE_WORLD_MAX) * ROUND_LINE, JOIN_MAX = 64 };
enum { PAUSE_MS_MAX = 50 };

typedef struct file_store {
    store base;
    store_member member;
    const char *path; /* owned; FOLDER/GROUP, for messages */
    int folder, run;  /* -1: not open */
    char nonce[NONCE_TEXT + 1], run_name[NONCE_TEXT + 8];
    char *text; /* [ROUND_MAX], owned: of a round that is read */
    bool joined;
    atomic_uint files_written; /* names what is written aside */
} file_store;

static file_store *file_of(store *base)
{
    return (file_store *)base;
}

/* ---- files ---- */

static tn_status fail_file(const file_store *store, const char *what, const char *name, tn_error *err)
{
    int reason = errno;
    tn_fail(err, TN_E_IO, "%s %s/%s: %s; the group's folder must be one that every member can write to", what,
            store->path, name, strerror(reason));
    if (err)
        err->native_code = reason;
    return TN_E_IO;
}

static bool write_all(int fd, const uint8_t *bytes, uint64_t n)
{
    while (n) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (uint64_t)done;
    }
    return fsync(fd) == 0;
}

/* linkat of a file with one name; a network file system may say that it failed when only the answer was lost. */
static bool link_as(int folder, const char *aside, const char *name)
{
    struct stat info;
    if (linkat(folder, aside, folder, name, 0) == 0)
        return true;
    int reason = errno;
    bool linked = fstatat(folder, aside, &info, AT_SYMLINK_NOFOLLOW) == 0 && info.st_nlink == 2;
    errno = reason;
    return linked;
}

/* Makes a whole file appear. once: TN_E_ARGUMENT if there is one already; otherwise it is replaced. */
static tn_status publish(file_store *store, int folder, const char *name, const void *bytes, uint64_t n, bool once,
                         tn_error *err)
{
    char aside[NONCE_TEXT + 24];
    snprintf(aside, sizeof aside, "new.%s.%u", store->nonce, atomic_fetch_add(&store->files_written, 1));
    int fd = openat(folder, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_file(store, "cannot create", aside, err);
    tn_status status = write_all(fd, bytes, n) ? TN_OK : fail_file(store, "cannot write", aside, err);
    close(fd);
    if (status == TN_OK && !once && renameat(folder, aside, folder, name))
        status = fail_file(store, "cannot rename to", name, err);
    if (status == TN_OK && once && !link_as(folder, aside, name))
        status = errno == EEXIST ? tn_fail(err, TN_E_ARGUMENT, "%s/%s is there already", store->path, name)
                                 : fail_file(store, "cannot link", name, err);
    if (once || status != TN_OK)
        unlinkat(folder, aside, 0);
    fsync(folder); /* some file systems cannot; the file is there all the same */
    return status;
}

/* Reads a file of at most *n bytes; TN_E_NOT_FOUND, without a message: it is not there. *n: its size, also on
 * TN_E_MEMORY. */
static tn_status read_file(const file_store *store, int folder, const char *name, void *bytes, uint64_t *n,
                           tn_error *err)
{
    struct stat info;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ESTALE ? TN_E_NOT_FOUND : fail_file(store, "cannot open", name, err);
    tn_status status = fstat(fd, &info) == 0 ? TN_OK : fail_file(store, "cannot read", name, err);
    if (status == TN_OK && !S_ISREG(info.st_mode))
        status = tn_fail(err, TN_E_CORRUPT, "%s/%s is no file: remove it", store->path, name);
    uint64_t size = status == TN_OK ? (uint64_t)info.st_size : 0;
    if (status == TN_OK && size > *n)
        status = tn_fail(err, TN_E_MEMORY, "%s/%s has %" PRIu64 " bytes", store->path, name, size);
    for (uint64_t done = 0; status == TN_OK && done < size;) {
        ssize_t got = read(fd, (uint8_t *)bytes + done, size - done);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            status = got == 0 ? tn_fail(err, TN_E_CORRUPT, "%s/%s is cut short", store->path, name)
                              : fail_file(store, "cannot read", name, err);
        done += got > 0 ? (uint64_t)got : 0;
    }
    close(fd);
    if (status == TN_OK || status == TN_E_MEMORY)
        *n = size;
    return status;
}

static void pause_ms(uint32_t *ms)
{
    const struct timespec pause = {.tv_nsec = *ms * 1000000L};
    nanosleep(&pause, NULL);
    *ms = *ms * 2 < PAUSE_MS_MAX ? *ms * 2 : PAUSE_MS_MAX;
}

static tn_status draw(char text[NONCE_TEXT + 1], tn_error *err)
{
    uint8_t bytes[NONCE_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return tn_fail(err, TN_E_INTERNAL, "the system gives no random bytes");
    hex_of(bytes, sizeof bytes, text);
    return TN_OK;
}

/* ---- folders ---- */

/* Ours alone: what others could write here would be believed. */
static tn_status check_folder(const file_store *store, int folder, tn_error *err)
{
    struct stat info;
    if (fstat(folder, &info))
        return fail_file(store, "cannot read", ".", err);
    if (info.st_uid != geteuid() || (info.st_mode & 022))
        return tn_fail(
            err, TN_E_ARGUMENT,
            "the group's folder %s belongs to user %u with mode %03o: it must be this user's (%u) and writable by no "
            "other; remove it, or set another group.name",
            store->path, (unsigned)info.st_uid, (unsigned)info.st_mode & 0777, (unsigned)geteuid());
    return TN_OK;
}

/* Opens parent/name, made if need be. */
static tn_status open_folder(const file_store *store, int parent, const char *name, int *ret_folder, tn_error *err)
{
    if (mkdirat(parent, name, 0700) && errno != EEXIST)
        return fail_file(store, "cannot create the folder", name, err);
    *ret_folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_folder < 0)
        return fail_file(store, "cannot open the folder", name, err);
    return check_folder(store, *ret_folder, err);
}

static tn_status open_group(file_store *store, const char *folder, tn_error *err)
{
    int parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return tn_fail(
            err, TN_E_IO,
            "cannot open the folder %.300s of group.store: %s; create it on a file system that all machines share",
            folder, strerror(errno));
    tn_status status = open_folder(store, parent, store->member.group, &store->folder, err);
    close(parent);
    return status;
}

/* ---- joining ---- */

static void name_of_rank(const char *what, uint32_t rank, char out[FILE_NAME_MAX])
{
    snprintf(out, FILE_NAME_MAX, "%s.%u", what, rank);
}

static bool rank_has(const file_store *store, const char *what, uint32_t rank)
{
    char name[FILE_NAME_MAX];
    name_of_rank(what, rank, name);
    return faccessat(store->run, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static tn_status mark(file_store *store, const char *what, uint32_t rank, tn_error *err)
{
    char name[FILE_NAME_MAX];
    name_of_rank(what, rank, name);
    return publish(store, store->run, name, NULL, 0, true, err);
}

static tn_status publish_join(file_store *store, tn_error *err)
{
    char name[FILE_NAME_MAX], text[JOIN_MAX];
    name_of_rank("join", store->member.rank, name);
    int n = snprintf(text, sizeof text, "%s %u\n", store->nonce, store->member.world);
    return publish(store, store->folder, name, text, (uint64_t)n, false, err);
}

/* "NONCE WORLD\n". False: there is none, or it is none. */
static bool read_join(const file_store *store, uint32_t rank, char ret_nonce[NONCE_TEXT + 1], uint32_t *ret_world)
{
    char name[FILE_NAME_MAX], text[JOIN_MAX + 1];
    uint64_t n = JOIN_MAX;
    name_of_rank("join", rank, name);
    if (read_file(store, store->folder, name, text, &n, NULL) != TN_OK)
        return false;
    text[n] = 0;
    if (strspn(text, "0123456789abcdef") != NONCE_TEXT || sscanf(text + NONCE_TEXT, " %9u\n", ret_world) != 1)
        return false;
    memcpy(ret_nonce, text, NONCE_TEXT);
    ret_nonce[NONCE_TEXT] = 0;
    return true;
}

/* Whether the process that joined under our rank is still us. */
static tn_status check_own_join(const file_store *store, tn_error *err)
{
    char nonce[NONCE_TEXT + 1];
    uint32_t world;
    if (!read_join(store, store->member.rank, nonce, &world) || !strcmp(nonce, store->nonce))
        return TN_OK;
    return tn_fail(
        err, TN_E_ARGUMENT,
        "another process joined group %.100s as rank %u while this one waited: give every process its own rank, and "
        "every job its own group.name",
        store->member.group, store->member.rank);
}

/* ---- joining: rank 0 ---- */

/* A round under way: its text is a line for the run and one for each rank, "NONCE+": may come, "NONCE-": other world
 * size. */
typedef struct file_round {
    char *text; /* [(1 + world) * ROUND_LINE] */
    bool *here; /* [world] */
} file_round;

static char *line_of(const file_round *round, uint32_t rank)
{
    return round->text + (1 + (size_t)rank) * ROUND_LINE;
}

static void write_line(char *line, const char *nonce, char verdict)
{
    memcpy(line, nonce, NONCE_TEXT);
    line[NONCE_TEXT] = verdict;
    line[NONCE_TEXT + 1] = '\n';
}

/* A live process that has another world size says so in the run's folder; a file from an earlier run stays silent. */
static tn_status check_refused(const file_store *store, uint32_t rank, tn_error *err)
{
    if (!rank_has(store, "refused", rank))
        return TN_OK;
    return tn_fail(err, TN_E_ARGUMENT,
                   "rank %u of group %.100s has another world size than rank 0's %u: give all processes the same", rank,
                   store->member.group, store->member.world);
}

/* Looks once at who is not here yet. *ret_missing: how many; *ret_news: the round's text has changed. */
static tn_status look_around(const file_store *store, file_round *round, uint32_t *ret_missing, bool *ret_news,
                             tn_error *err)
{
    char nonce[NONCE_TEXT + 1];
    uint32_t world;
    tn_status status = check_own_join(store, err);
    *ret_missing = 0;
    *ret_news = false;
    for (uint32_t rank = 1; rank < store->member.world && status == TN_OK; rank++) {
        round->here[rank] = round->here[rank] || rank_has(store, "here", rank);
        if (round->here[rank])
            continue;
        ++*ret_missing;
        status = check_refused(store, rank, err);
        if (status != TN_OK || !read_join(store, rank, nonce, &world) ||
            !memcmp(line_of(round, rank), nonce, NONCE_TEXT))
            continue;
        write_line(line_of(round, rank), nonce, world == store->member.world ? '+' : '-');
        *ret_news = true;
    }
    return status;
}

static tn_status fail_missing(const file_store *store, const file_round *round, uint32_t missing, uint32_t timeout_ms,
                              tn_error *err)
{
    char list[100] = "";
    uint32_t named = 0;
    for (uint32_t rank = 1, n = 0; rank < store->member.world && named < 8; rank++) {
        if (!round->here[rank])
            n += (uint32_t)snprintf(list + n, sizeof list - n, "%s%u", named++ ? ", " : "", rank);
    }
    return tn_fail(err, TN_E_NOT_FOUND, "%u of %u processes did not join group %.100s in %s within %u ms: rank %s%s",
                   missing, store->member.world, store->member.group, store->path, timeout_ms, list,
                   missing > named ? ", ..." : "");
}

static tn_status admit(file_store *store, file_round *round, uint32_t timeout_ms, tn_error *err)
{
    uint64_t deadline_ms = clock_ms() + timeout_ms, n = (1 + (uint64_t)store->member.world) * ROUND_LINE;
    uint32_t missing = 0, pause = 1;
    bool news = false;
    for (;; pause_ms(&pause)) {
        tn_status status = look_around(store, round, &missing, &news, err);
        if (status == TN_OK && news)
            status = publish(store, store->folder, "round", round->text, n, false, err);
        if (status != TN_OK || !missing)
            return status;
        if (clock_ms() >= deadline_ms)
            return fail_missing(store, round, missing, timeout_ms, err);
    }
}

static tn_status join_first(file_store *store, uint32_t timeout_ms, tn_error *err)
{
    char name[NONCE_TEXT + 1];
    const uint32_t world = store->member.world;
    file_round round = {.text = malloc((1 + (size_t)world) * ROUND_LINE), .here = calloc(world, sizeof *round.here)};
    tn_status status =
        round.text && round.here ? draw(name, err) : tn_fail(err, TN_E_MEMORY, "out of memory for a group");
    if (status == TN_OK) {
        snprintf(store->run_name, sizeof store->run_name, "run.%s", name);
        write_line(round.text, name, '+');
        for (uint32_t rank = 0; rank < world; rank++)
            write_line(line_of(&round, rank), rank ? "--------------------------------" : store->nonce, '+');
        status = open_folder(store, store->folder, store->run_name, &store->run, err);
    }
    if (status == TN_OK)
        status = admit(store, &round, timeout_ms, err);
    free(round.text);
    free(round.here);
    return status;
}

/* ---- joining: the others ---- */

/* What the round says to us: '+', '-', or 0, not a word. */
static char verdict_of(file_store *store)
{
    char *text = store->text;
    uint64_t n = ROUND_MAX;
    uint64_t at = (1 + (uint64_t)store->member.rank) * ROUND_LINE;
    if (read_file(store, store->folder, "round", text, &n, NULL) != TN_OK || n % ROUND_LINE || at >= n)
        return 0;
    if (memcmp(text + at, store->nonce, NONCE_TEXT))
        return 0;
    snprintf(store->run_name, sizeof store->run_name, "run.%.*s", NONCE_TEXT, text);
    return strspn(store->run_name + 4, "0123456789abcdef") == NONCE_TEXT ? text[at + NONCE_TEXT] : 0;
}

static tn_status enter(file_store *store, char verdict, tn_error *err)
{
    tn_status status = open_folder(store, store->folder, store->run_name, &store->run, err);
    if (status == TN_OK)
        status = mark(store, verdict == '+' ? "here" : "refused", store->member.rank, err);
    if (status == TN_OK && verdict != '+')
        status = tn_fail(err, TN_E_ARGUMENT,
                         "rank 0 of group %.100s has another world size than rank %u's %u: give all processes the same",
                         store->member.group, store->member.rank, store->member.world);
    return status;
}

static tn_status join_later(file_store *store, uint32_t timeout_ms, tn_error *err)
{
    uint64_t deadline_ms = clock_ms() + timeout_ms;
    uint32_t pause = 1;
    char verdict = 0;
    tn_status status = TN_OK;
    for (; status == TN_OK && !(verdict = verdict_of(store)); pause_ms(&pause)) {
        status = check_own_join(store, err);
        if (status == TN_OK && clock_ms() >= deadline_ms)
            status = tn_fail(
                err, TN_E_NOT_FOUND,
                "rank 0 did not let rank %u into group %.100s within %u ms: it does not run, or not with the folder "
                "%.200s, or another process is rank %u",
                store->member.rank, store->member.group, timeout_ms, store->path, store->member.rank);
    }
    return status == TN_OK ? enter(store, verdict, err) : status;
}

/* ---- calls ---- */

/* '/' may not stand in a file's name, '+' not in a key. */
static void name_of_key(const char *key, char out[FILE_NAME_MAX])
{
    snprintf(out, FILE_NAME_MAX, "key.%s", key);
    for (char *at = out; *at; at++)
        *at = *at == '/' ? '+' : *at;
}

static tn_status check_aborted(const file_store *store, tn_error *err)
{
    char reason[STORE_REASON_MAX + 1];
    uint64_t n = STORE_REASON_MAX;
    tn_status status = read_file(store, store->run, "abort", reason, &n, err);
    if (status == TN_OK)
        return tn_fail(err, TN_E_CANCELLED, "%.*s", (int)n, reason);
    return status == TN_E_NOT_FOUND ? TN_OK : status;
}

static tn_status file_put(store *base, const char *key, const void *value, uint64_t n_value, tn_error *err)
{
    file_store *store = file_of(base);
    char name[FILE_NAME_MAX];
    name_of_key(key, name);
    tn_status status = check_aborted(store, err);
    if (status == TN_OK)
        status = publish(store, store->run, name, value, n_value, true, err);
    return status == TN_E_ARGUMENT ? tn_fail(err, status, "the key %s has a value already; a key is put once", key)
                                   : status;
}

static tn_status file_get(store *base, const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms,
                          tn_error *err)
{
    file_store *store = file_of(base);
    uint64_t deadline_ms = clock_ms() + timeout_ms;
    uint32_t pause = 1;
    char name[FILE_NAME_MAX];
    name_of_key(key, name);
    for (;; pause_ms(&pause)) {
        tn_status status = check_aborted(store, err);
        if (status == TN_OK)
            status = read_file(store, store->run, name, value, n_value, err);
        if (status != TN_E_NOT_FOUND)
            return status;
        if (clock_ms() >= deadline_ms)
            return tn_fail(err, TN_E_NOT_FOUND, "no member of group %.100s put %s into %.150s within %u ms",
                           store->member.group, key, store->path, timeout_ms);
    }
}

static void file_abort(store *base, const char *reason)
{
    file_store *store = file_of(base);
    size_t n = strlen(reason) < STORE_REASON_MAX ? strlen(reason) : STORE_REASON_MAX;
    publish(store, store->run, "abort", reason, n, true, NULL); /* the first one stands */
}

/* ---- leaving ---- */

static bool all_have_left(const file_store *store)
{
    for (uint32_t rank = 1; rank < store->member.world; rank++) {
        if (!rank_has(store, "left", rank))
            return false;
    }
    return true;
}

static void remove_files(int folder)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    for (struct dirent *entry; list && (entry = readdir(list));)
        unlinkat(folder, entry->d_name, 0); /* refuses "." and ".." */
    if (list)
        closedir(list);
}

/* Our own word that we want in; not that of a process which took our place. */
static void remove_join(const file_store *store)
{
    char name[FILE_NAME_MAX], nonce[NONCE_TEXT + 1];
    uint32_t world;
    name_of_rank("join", store->member.rank, name);
    if (read_join(store, store->member.rank, nonce, &world) && !strcmp(nonce, store->nonce))
        unlinkat(store->folder, name, 0);
}

/* The folder of the run, once nobody reads there; and that of the group, if no other run is in it. */
static void clean_up(file_store *store)
{
    uint64_t deadline_ms = clock_ms() + STORE_LEAVE_MS;
    uint32_t pause = 1;
    while (!all_have_left(store) && clock_ms() < deadline_ms)
        pause_ms(&pause);
    if (all_have_left(store)) {
        remove_files(store->run);
        unlinkat(store->folder, store->run_name, AT_REMOVEDIR);
        if (verdict_of(store))
            unlinkat(store->folder, "round", 0);
        rmdir(store->path);
    }
}

static void file_close(store *base)
{
    file_store *store = file_of(base);
    if (store->folder >= 0)
        remove_join(store);
    if (store->joined && store->member.rank == 0)
        clean_up(store);
    else if (store->run >= 0)
        mark(store, "left", store->member.rank, NULL);
    if (store->run >= 0)
        close(store->run);
    if (store->folder >= 0)
        close(store->folder);
    free((char *)store->path);
    free(store->text);
    free(store);
}

static const store_api file_api = {.put = file_put, .get = file_get, .abort = file_abort, .close = file_close};

tn_status file_store_open(const char *folder, const store_member *member, uint32_t timeout_ms, store **ret_store,
                          tn_error *err)
{
    tn_error why = TN_ERROR_INIT;
    file_store *store = calloc(1, sizeof *store);
    char *path = NULL;
    if (!store || asprintf(&path, "%s/%s", folder, member->group) < 0) {
        free(store);
        return tn_fail(err, TN_E_MEMORY, "out of memory for the store of the group");
    }
    *store = (file_store){.base.api = &file_api, .member = *member, .path = path, .folder = -1, .run = -1};
    store->text = malloc(ROUND_MAX);
    tn_status status = store->text ? draw(store->nonce, &why) : tn_fail(&why, TN_E_MEMORY, "out of memory for a group");
    if (status == TN_OK)
        status = open_group(store, folder, &why);
    if (status == TN_OK)
        status = publish_join(store, &why);
    if (status == TN_OK)
        status = member->rank == 0 ? join_first(store, timeout_ms, &why) : join_later(store, timeout_ms, &why);
    store->joined = status == TN_OK;
    if (status == TN_OK) {
        *ret_store = &store->base;
        return TN_OK;
    }
    if (store->run >= 0 && member->rank == 0) /* those that are in already would wait for the rest */
        file_abort(&store->base, why.msg);
    file_close(&store->base);
    return tn_fail(err, status, "%s", why.msg);
}
