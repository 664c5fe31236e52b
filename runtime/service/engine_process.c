/* engine_process.c: see engine_process.h. */
#include "service/engine_process.h"

#include "base/utf8.h"
#include "file/directory.h"
#include "file/whole_file.h"
#include "service/child.h"
#include "service/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ID_NAME_BYTES = 24, ID_RANDOM = 6, LOCK_TRIES = 100, LOCK_WAIT_MS = 20, END_WAIT_MS = 5000 };
/* INSTANCES/ID/engine.sock fills a socket's address at most. */
enum {
    ID_BYTES = ID_NAME_BYTES + 1 + ID_RANDOM,
    INSTANCES_BYTES = SOCKET_PATH_BYTES - (int)sizeof "//engine.sock" - ID_BYTES
};

static int open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* ---- names ---- */

tn_status engine_process_check_store(const char *instances, tn_error *err)
{
    const size_t most = INSTANCES_BYTES;
    if (strlen(instances) > most)
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.200s: the path of the store is too long for sockets in it: %zu bytes more "
                       "than the %zu that are possible",
                       instances, strlen(instances) - most, most - strlen("/instances"));
    return TN_OK;
}

void engine_process_name(const char *instances, const char *service, char ret_id[INSTANCE_ID_BYTES])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    char path[PATH_MAX];
    unsigned char bytes[ID_RANDOM];
    do {
        TN_ASSERT(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
        int used = snprintf(ret_id, INSTANCE_ID_BYTES, "%.*s-", ID_NAME_BYTES, service);
        for (int i = 0; i < ID_RANDOM; i++)
            ret_id[used + i] = letters[bytes[i] % 32];
        ret_id[used + ID_RANDOM] = '\0';
        snprintf(path, sizeof path, "%s/%s", instances, ret_id);
    } while (access(path, F_OK) == 0);
}

static void place(engine_process *process, const char *instances, const char *id)
{
    *process = (engine_process){.pidfd = -1};
    snprintf(process->folder, sizeof process->folder, "%s/%s", instances, id);
    snprintf(process->socket, sizeof process->socket, "%.*s/%.*s/engine.sock", INSTANCES_BYTES, instances, ID_BYTES,
             id);
}

static void file_in(const engine_process *process, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", process->folder, name);
}

/* ---- the record ---- */

static tn_status write_record(const engine_process *process, tn_error *err)
{
    const engine_record *record = &process->record;
    const ledger_claim *claim = &record->claim;
    json_t *ordinals = json_array();
    for (uint32_t i = 0; i < claim->device_count; i++)
        json_array_append_new(ordinals, json_integer(claim->ordinals[i]));
    json_t *object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:o, s:I}", "service", claim->service, "instance",
                               claim->instance, "generation", (json_int_t)record->generation, "restart_count",
                               (json_int_t)record->restart_count, "started", (json_int_t)record->started_ms, "domain",
                               claim->domain, "devices", ordinals, "reserved_bytes", (json_int_t)claim->bytes);
    char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    json_decref(object);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "an instance's record");
    tn_status status = whole_file_put(process->folder, "instance.json", text, strlen(text), err);
    free(text);
    return status;
}

static bool read_record(engine_process *process)
{
    char path[PATH_MAX];
    const char *service, *instance, *domain;
    json_int_t generation, restarts, started, bytes;
    json_t *ordinals, *entry;
    size_t index;
    file_in(process, "instance.json", path);
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool good =
        object && json_unpack(object, "{s:s, s:s, s:I, s:I, s:I, s:s, s:o, s:I}", "service", &service, "instance",
                              &instance, "generation", &generation, "restart_count", &restarts, "started", &started,
                              "domain", &domain, "devices", &ordinals, "reserved_bytes", &bytes) == 0;
    ledger_claim *claim = &process->record.claim;
    if (good) {
        process->record.generation = (uint32_t)generation;
        process->record.restart_count = (uint32_t)restarts;
        process->record.started_ms = (uint64_t)started;
        claim->bytes = (uint64_t)bytes;
        snprintf(claim->service, sizeof claim->service, "%s", service);
        snprintf(claim->instance, sizeof claim->instance, "%s", instance);
        snprintf(claim->domain, sizeof claim->domain, "%s", domain);
        json_array_foreach(ordinals, index, entry) if (index < LEDGER_DEVICES_MAX)
            claim->ordinals[claim->device_count++] = (uint32_t)json_integer_value(entry);
    }
    json_decref(object);
    return good;
}

/* ---- starting ---- */

static tn_status write_settings(const engine_process *process, const settings *base, const wish *wish, const pool *pool,
                                tn_error *err)
{
    engine_settings list = {0};
    char path[PATH_MAX];
    file_in(process, "engine.ini", path);
    tn_status status = engine_settings_make(base, wish, pool, ENGINE_SERVE, process->socket, &list, err);
    if (status == TN_OK)
        status = engine_settings_write(&list, path, err);
    engine_settings_finish(&list);
    return status;
}

static tn_status start_keeper(engine_process *process, const char *program, const settings *base, const char *devices,
                              tn_error *err)
{
    char path[PATH_MAX], bytes_max[24], files[16];
    child_environment environment;
    snprintf(bytes_max, sizeof bytes_max, "%" PRId64, settings_integer(base, "server", "log_bytes_max"));
    snprintf(files, sizeof files, "%" PRId64, settings_integer(base, "server", "log_files"));
    char *const argv[] = {"tenon", "keep", "--log-bytes-max", bytes_max, "--log-files", files, process->folder, NULL};

    file_in(process, "keeper.log", path);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (log < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    tn_status status = child_environment_make(devices, &environment, err);
    if (status == TN_OK) {
        status = child_start(program, argv, &environment, log, log, &process->keeper, err);
        child_environment_finish(&environment);
    }
    close(log);
    if (status != TN_OK)
        return status;
    process->ours = true;
    process->pidfd = open_pidfd(process->keeper);
    if (process->pidfd < 0) {
        kill(process->keeper, SIGKILL);
        waitpid(process->keeper, NULL, 0);
        return tn_fail(err, TN_E_IO, "a process cannot be watched: %s", strerror(errno));
    }
    return TN_OK;
}

tn_status engine_process_start(const char *program, const char *instances, const engine_record *record,
                               const settings *base, const wish *wish, const pool *pool, const char *devices,
                               engine_process *ret_process, tn_error *err)
{
    engine_process process;
    place(&process, instances, record->claim.instance);
    process.record = *record;
    if (mkdir(process.folder, 0750) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", process.folder, strerror(errno));
    tn_status status = write_settings(&process, base, wish, pool, err);
    if (status == TN_OK)
        status = write_record(&process, err);
    if (status == TN_OK)
        status = start_keeper(&process, program, base, devices, err);
    if (status != TN_OK) {
        directory_remove(process.folder, NULL);
        return status;
    }
    *ret_process = process;
    return TN_OK;
}

/* ---- removing ---- */

/* Under another name first: a keeper that begins late, or an engine that is not quite dead, makes no file in there
 * while it is emptied. */
static tn_status remove_folder(const engine_process *process, tn_error *err)
{
    char gone[PATH_MAX];
    snprintf(gone, sizeof gone, "%s.gone", process->folder);
    return directory_remove(rename(process->folder, gone) == 0 ? gone : process->folder, err);
}

/* ---- finding ---- */

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Who holds the lock, by what it wrote there. A keeper that has just begun gets a moment to write. */
static bool find_keeper(engine_process *process, int lock)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        char text[64];
        int pid;
        unsigned long long start;
        ssize_t bytes = pread(lock, text, sizeof text - 1, 0);
        text[bytes > 0 ? bytes : 0] = '\0';
        if (sscanf(text, "%d %llu", &pid, &start) == 2) {
            process->keeper = pid;
            process->pidfd = open_pidfd(pid);
            if (process->pidfd >= 0 && process_start_time(pid) == start)
                return true;
            if (process->pidfd >= 0)
                close(process->pidfd);
            process->pidfd = -1;
        }
        if (flock(lock, LOCK_EX | LOCK_NB) == 0)
            return false;
        pause_ms(LOCK_WAIT_MS);
    }
    return false;
}

tn_status engine_process_adopt(const char *instances, const char *id, engine_process *ret_process, tn_error *err)
{
    char path[PATH_MAX];
    engine_process process;
    place(&process, instances, id);
    file_in(&process, "lock", path);
    /* Made if it is not there: a keeper that is about to start finds it taken. */
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (lock < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    bool held = flock(lock, LOCK_EX | LOCK_NB) != 0;
    bool found = held && find_keeper(&process, lock);
    if (found && read_record(&process)) {
        close(lock);
        *ret_process = process;
        return TN_OK;
    }
    if (found) { /* it runs, but nobody can tell what for */
        engine_process_signal(&process, SIGKILL);
        poll(&(struct pollfd){process.pidfd, POLLIN, 0}, 1, END_WAIT_MS);
    }
    engine_process_leave(&process);
    tn_status status = remove_folder(&process, err);
    close(lock);
    return status == TN_OK ? TN_E_NOT_FOUND : status;
}

/* ---- watching ---- */

bool engine_process_exited(const engine_process *process)
{
    struct pollfd polled = {process->pidfd, POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
}

void engine_process_signal(const engine_process *process, int signal_number)
{
    syscall(SYS_pidfd_send_signal, process->pidfd, signal_number, NULL, 0);
}

/* Cut between two characters. */
static void put_text(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text);
    to[utf8_whole_prefix(to, strlen(to))] = '\0';
}

bool engine_process_exit_code(const engine_process *process, int32_t *ret_code)
{
    char path[PATH_MAX];
    file_in(process, "exit.json", path);
    json_t *object = json_load_file(path, 0, NULL);
    const json_t *code = json_object_get(object, "exit_code");
    bool known = json_is_integer(code);
    if (known)
        *ret_code = (int32_t)json_integer_value(code);
    json_decref(object);
    return known;
}

void engine_process_last_words(const engine_process *process, char ret_words[ENGINE_WORDS_BYTES])
{
    char path[PATH_MAX], *line = NULL;
    size_t capacity = 0;
    ret_words[0] = '\0';
    file_in(process, "keeper.log", path);
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &capacity, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        const char *words = strncmp(line, "tenon: ", 7) == 0 ? line + 7 : line;
        if (*words)
            put_text(ret_words, ENGINE_WORDS_BYTES, words);
    }
    free(line);
    if (file)
        fclose(file);
}

static void copy_text(char *to, size_t size, const json_t *text)
{
    const char *from = json_string_value(text);
    put_text(to, size, from ? from : "");
}

void engine_process_status(const engine_process *process, engine_status *ret_status)
{
    char path[PATH_MAX];
    file_in(process, "status.json", path);
    *ret_status = (engine_status){.failure = TN_OK};
    json_t *object = json_load_file(path, 0, NULL);
    if (!object)
        return;
    copy_text(ret_status->stage, sizeof ret_status->stage, json_object_get(object, "stage"));
    copy_text(ret_status->message, sizeof ret_status->message, json_object_get(object, "message"));
    ret_status->progress = json_number_value(json_object_get(object, "progress"));
    ret_status->pid = (pid_t)json_integer_value(json_object_get(object, "pid"));
    ret_status->failure = (tn_status)json_integer_value(json_object_get(object, "status"));
    json_decref(object);
}

uint64_t engine_process_memory(pid_t engine)
{
    char path[32];
    unsigned long long whole, resident = 0;
    if (engine <= 0)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)engine);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &whole, &resident) != 2)
        resident = 0;
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- its end ---- */

void engine_process_leave(engine_process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    process->pidfd = -1;
}

void engine_process_remove(engine_process *process, const char *kept_log)
{
    char path[PATH_MAX];
    if (process->ours)
        waitpid(process->keeper, NULL, 0);
    engine_process_leave(process);
    file_in(process, "log", path);
    if (kept_log)
        rename(path, kept_log);
    remove_folder(process, NULL);
}
