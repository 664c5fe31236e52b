/* job_files.c: see job_files.h. */
#include "jobs/job_files.h"

#include "batch/place_name.h"
#include "file/directory.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ID_DIGITS = 24 };

struct job_files {
    char folder[PATH_MAX - 64];
    file_limits limits;
    pthread_mutex_t lock; /* guards what follows */
    json_t *files;        /* an array of them, oldest first */
    uint64_t bytes;       /* of them, and of uploads under way */
    uint32_t uploads;
};

void job_id_make(const char *prefix, char ret_id[JOB_ID_BYTES])
{
    uint8_t random[ID_DIGITS / 2];
    int used = snprintf(ret_id, JOB_ID_BYTES, "%s", prefix);

    TN_ASSERT(used > 0 && used + ID_DIGITS < JOB_ID_BYTES);
    TN_ASSERT(getrandom(random, sizeof random, 0) == sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(ret_id + used + 2 * i, 3, "%02x", random[i]);
}

/* What stands in paths is our own: "file-" and digits. */
static bool is_id(const char *id)
{
    static const char prefix[] = "file-";
    return strncmp(id, prefix, sizeof prefix - 1) == 0 && strlen(id) == sizeof prefix - 1 + ID_DIGITS &&
           strspn(id + sizeof prefix - 1, "0123456789abcdef") == ID_DIGITS;
}

void job_files_path(const job_files *store, const char *id, char ret_path[PATH_MAX])
{
    snprintf(ret_path, PATH_MAX, "%s/%.*s.jsonl", store->folder, JOB_ID_BYTES, id);
}

static void note_path(const job_files *store, const char *id, char ret_path[PATH_MAX])
{
    snprintf(ret_path, PATH_MAX, "%s/%.*s.json", store->folder, JOB_ID_BYTES, id);
}

static const char *id_of(const json_t *file)
{
    return json_string_value(json_object_get(file, "id"));
}

static uint64_t bytes_of(const json_t *file)
{
    return (uint64_t)json_integer_value(json_object_get(file, "bytes"));
}

static bool has_expired(const json_t *file, int64_t now)
{
    const json_t *at = json_object_get(file, "expires_at");
    return json_is_integer(at) && json_integer_value(at) <= now;
}

const file_limits *job_files_limits(const job_files *store)
{
    return &store->limits;
}

/* ---- opening ---- */

/* A note as it was written; NULL: it is none. */
static json_t *read_note(const job_files *store, const char *id)
{
    char path[PATH_MAX];
    struct stat status;
    json_error_t fault;

    note_path(store, id, path);
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    job_files_path(store, id, path);
    const char *own = id_of(file);
    bool whole = own && strcmp(own, id) == 0 && json_is_integer(json_object_get(file, "created_at")) &&
                 json_is_string(json_object_get(file, "filename")) &&
                 json_is_string(json_object_get(file, "purpose")) && stat(path, &status) == 0 &&
                 (uint64_t)status.st_size == bytes_of(file);
    if (whole)
        return file;
    json_decref(file);
    return NULL;
}

/* Oldest first; the list is short, and mostly so already. */
static bool insert(job_files *store, json_t *file)
{
    const json_int_t created = json_integer_value(json_object_get(file, "created_at"));
    size_t at = json_array_size(store->files);

    while (at > 0 && json_integer_value(json_object_get(json_array_get(store->files, at - 1), "created_at")) > created)
        at--;
    store->bytes += bytes_of(file);
    return json_array_insert_new(store->files, at, file) == 0;
}

static void remove_in(const job_files *store, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", store->folder, name) < (int)sizeof path)
        unlink(path);
}

/* Halves of files: partial ones, and contents without a note. */
static tn_status take_entry(job_files *store, const char *name, void (*tell)(const char *), tn_error *err)
{
    char id[NAME_MAX + 1] = "", path[PATH_MAX], sentence[PATH_MAX + 128];
    size_t id_n = strcspn(name, ".");

    if (id_n >= sizeof id)
        return TN_OK;
    memcpy(id, name, id_n);
    if (!is_id(id))
        return TN_OK;
    note_path(store, id, path);
    if (place_name_ends(name, ".partial") || (place_name_ends(name, ".jsonl") && access(path, F_OK) != 0)) {
        remove_in(store, name);
        return TN_OK;
    }
    if (!place_name_ends(name, ".json"))
        return TN_OK;
    json_t *file = read_note(store, id);
    if (file)
        return insert(store, file) ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for a list of files");
    snprintf(sentence, sizeof sentence, "%s: this file is damaged and is not served; restore or remove it", path);
    if (tell)
        tell(sentence);
    return TN_OK;
}

static tn_status read_folder(job_files *store, void (*tell)(const char *), tn_error *err)
{
    DIR *folder = opendir(store->folder);
    tn_status status = TN_OK;

    if (!folder)
        return tn_fail(err, TN_E_IO, "%.300s: %s", store->folder, strerror(errno));
    for (const struct dirent *entry; status == TN_OK && (entry = readdir(folder));)
        status = take_entry(store, entry->d_name, tell, err);
    closedir(folder);
    return status;
}

tn_status job_files_open(const char *folder, const file_limits *limits, void (*tell)(const char *sentence),
                         job_files **ret_store, tn_error *err)
{
    job_files *store = calloc(1, sizeof *store);

    if (!store)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the store of files");
    pthread_mutex_init(&store->lock, NULL);
    store->limits = *limits;
    store->files = json_array();
    tn_status status = store->files ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for the store of files");
    if (status == TN_OK && snprintf(store->folder, sizeof store->folder, "%s", folder) >= (int)sizeof store->folder)
        status = tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", folder);
    if (status == TN_OK)
        status = directory_make(folder, err);
    if (status == TN_OK && chmod(folder, 0700) != 0)
        status = tn_fail(err, TN_E_IO, "%.300s: %s", folder, strerror(errno));
    if (status == TN_OK)
        status = read_folder(store, tell, err);
    if (status != TN_OK) {
        job_files_close(store);
        return status;
    }
    *ret_store = store;
    return TN_OK;
}

void job_files_close(job_files *store)
{
    if (!store)
        return;
    json_decref(store->files);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ---- writing ---- */

/* Room for n more bytes of one that has `has`. Under lock. */
static tn_status reserve(job_files *store, uint64_t has, uint64_t n, tn_error *err)
{
    if (n > store->limits.file_bytes - has)
        return tn_fail(err, TN_E_MEMORY, "the file is larger than %llu bytes, which [batch] max_file_bytes allows",
                       (unsigned long long)store->limits.file_bytes);
    if (store->bytes >= store->limits.total_bytes || n > store->limits.total_bytes - store->bytes)
        return tn_fail(err, TN_E_MEMORY,
                       "all files together would be larger than %llu bytes, which [batch] max_total_bytes allows; "
                       "delete some",
                       (unsigned long long)store->limits.total_bytes);
    store->bytes += n;
    return TN_OK;
}

static void give_back(file_upload *upload)
{
    pthread_mutex_lock(&upload->store->lock);
    upload->store->bytes -= upload->bytes;
    upload->store->uploads--;
    pthread_mutex_unlock(&upload->store->lock);
    upload->bytes = 0;
}

tn_status file_upload_begin(job_files *store, file_upload *ret_upload, tn_error *err)
{
    char name[JOB_ID_BYTES + 8];
    tn_status status = TN_OK;

    *ret_upload = (file_upload){.store = store};
    job_id_make("file-", ret_upload->id);
    snprintf(name, sizeof name, "%s.jsonl", ret_upload->id);
    pthread_mutex_lock(&store->lock);
    if (json_array_size(store->files) + store->uploads >= FILES_MAX)
        status = tn_fail(err, TN_E_MEMORY, "there are %d files, the most there may be; delete some", FILES_MAX);
    else
        store->uploads++;
    pthread_mutex_unlock(&store->lock);
    if (status == TN_OK) {
        status = whole_file_begin(&ret_upload->content, store->folder, name, err);
        if (status != TN_OK)
            give_back(ret_upload);
    }
    return status;
}

tn_status file_upload_write(file_upload *upload, const void *bytes, uint64_t n, tn_error *err)
{
    pthread_mutex_lock(&upload->store->lock);
    tn_status status = reserve(upload->store, upload->bytes, n, err);
    pthread_mutex_unlock(&upload->store->lock);
    if (status != TN_OK)
        return status;
    upload->bytes += n;
    return whole_file_write(&upload->content, bytes, n, err);
}

void file_upload_abandon(file_upload *upload)
{
    whole_file_abandon(&upload->content);
    give_back(upload);
}

static json_t *make_note(const job_files *store, const char *id, uint64_t bytes, const file_label *label)
{
    const int64_t now = (int64_t)time(NULL), expiry = label->expiry_s ? label->expiry_s : store->limits.expiry_s;

    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:s, s:s, s:s, s:o, s:s?}", "id", id, "object", "file", "bytes",
                     (json_int_t)bytes, "created_at", (json_int_t)now, "expires_at",
                     expiry ? json_integer(now + expiry) : json_null(), "filename", label->filename, "purpose",
                     label->purpose, "status", "processed", "status_details", json_null(), "owner", label->owner);
}

/* Writes the note of a content that is there, and enters it into the list; *ret_file may be NULL. */
static tn_status enter(job_files *store, const char *id, uint64_t bytes, const file_label *label, json_t **ret_file,
                       tn_error *err)
{
    char name[JOB_ID_BYTES + 8];
    json_t *file = make_note(store, id, bytes, label);
    char *text = file ? json_dumps(file, JSON_COMPACT) : NULL;

    snprintf(name, sizeof name, "%.*s.json", JOB_ID_BYTES, id);
    tn_status status = text ? whole_file_put(store->folder, name, text, strlen(text), err)
                            : tn_fail(err, TN_E_MEMORY, "out of memory for a file");
    free(text);
    if (status != TN_OK) {
        json_decref(file);
        return status;
    }
    if (ret_file)
        *ret_file = json_deep_copy(file);
    pthread_mutex_lock(&store->lock);
    if (!insert(store, file))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a list of files");
    pthread_mutex_unlock(&store->lock);
    return status;
}

tn_status file_upload_end(file_upload *upload, const file_label *label, json_t **ret_file, tn_error *err)
{
    job_files *store = upload->store;
    const uint64_t bytes = upload->bytes;
    char path[PATH_MAX];

    tn_status status = whole_file_end(&upload->content, err);
    if (status == TN_OK) {
        status = enter(store, upload->id, bytes, label, ret_file, err);
        if (status != TN_OK) {
            job_files_path(store, upload->id, path);
            unlink(path);
        }
    }
    give_back(upload); /* a file that was entered is counted for itself */
    return status;
}

tn_status job_files_adopt(job_files *store, const char *id, const char *path, const file_label *label, tn_error *err)
{
    char content[PATH_MAX], note[PATH_MAX];
    struct stat status;

    TN_ASSERT(is_id(id));
    job_files_path(store, id, content);
    note_path(store, id, note);
    if (access(note, F_OK) == 0)
        return TN_OK;
    if (rename(path, content) != 0 && (errno != ENOENT || access(content, F_OK) != 0))
        return tn_fail(err, TN_E_IO, "%.300s: %s", path, strerror(errno));
    if (stat(content, &status) != 0)
        return tn_fail(err, TN_E_IO, "%.300s: %s", content, strerror(errno));
    return enter(store, id, (uint64_t)status.st_size, label, NULL, err);
}

/* ---- reading ---- */

/* Under lock. The list's size: there is none. */
static size_t index_of(const job_files *store, const char *id)
{
    size_t i, n = json_array_size(store->files);

    for (i = 0; i < n && strcmp(id_of(json_array_get(store->files, i)), id) != 0; i++)
        ;
    return i;
}

json_t *job_files_find(job_files *store, const char *id)
{
    pthread_mutex_lock(&store->lock);
    json_t *file = json_array_get(store->files, index_of(store, id));
    json_t *copy = file && !has_expired(file, (int64_t)time(NULL)) ? json_deep_copy(file) : NULL;
    pthread_mutex_unlock(&store->lock);
    return copy;
}

json_t *job_files_list(job_files *store)
{
    const int64_t now = (int64_t)time(NULL);
    json_t *list = json_array(), *file;
    bool whole = list != NULL;
    size_t i;

    pthread_mutex_lock(&store->lock);
    json_array_foreach(store->files, i, file) if (whole && !has_expired(file, now)) whole =
        json_array_append_new(list, json_deep_copy(file)) == 0;
    pthread_mutex_unlock(&store->lock);
    if (!whole) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* The note first: what is left then is a half file, which the next opening removes. Under lock. */
static tn_status remove_at(job_files *store, size_t index, tn_error *err)
{
    const json_t *file = json_array_get(store->files, index);
    char path[PATH_MAX];

    note_path(store, id_of(file), path);
    if (unlink(path) != 0 && errno != ENOENT)
        return tn_fail(err, TN_E_IO, "%.300s: %s", path, strerror(errno));
    job_files_path(store, id_of(file), path);
    unlink(path);
    store->bytes -= bytes_of(file);
    json_array_remove(store->files, index);
    return directory_sync(store->folder, err);
}

tn_status job_files_remove(job_files *store, const char *id, tn_error *err)
{
    pthread_mutex_lock(&store->lock);
    size_t index = index_of(store, id);
    tn_status status = index < json_array_size(store->files)
                           ? remove_at(store, index, err)
                           : tn_fail(err, TN_E_NOT_FOUND, "there is no file '%.64s'", id);
    pthread_mutex_unlock(&store->lock);
    return status;
}

void job_files_sweep(job_files *store, bool (*in_use)(void *ctx, const char *id), void *ctx)
{
    const int64_t now = (int64_t)time(NULL);
    tn_error err = TN_ERROR_INIT;

    pthread_mutex_lock(&store->lock);
    for (size_t i = json_array_size(store->files); i-- > 0;) {
        const json_t *file = json_array_get(store->files, i);
        if (has_expired(file, now) && !in_use(ctx, id_of(file)))
            remove_at(store, i, &err); /* one that stays is tried again with the next sweep */
    }
    pthread_mutex_unlock(&store->lock);
}
