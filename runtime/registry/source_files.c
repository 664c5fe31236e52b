/* runtime/registry/source_files.c: see source_files.h.
 *
 * The cache of Hugging Face's tools: models--ORG--NAME/ with refs/NAME (a commit in a file), snapshots/COMMIT/FILE
 * (links to ../../blobs/HASH) and blobs/HASH, where HASH is the SHA-256 of a large file and Git's blob hash of a small
 * one. Links may lead anywhere within the entry; in any other directory, anywhere within it.
 */
#include "registry/source_files.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What is being listed. */
typedef struct listing {
    const file_choice *choice;
    source_files *files;
    char directory[PATH_MAX]; /* resolved */
    char fence[PATH_MAX];     /* resolved: where links may lead */
} listing;

static bool matches_any(const char *const *patterns, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return false;
}

bool file_choice_has(const file_choice *choice, const char *name)
{
    return (choice->include_count == 0 || matches_any(choice->include, choice->include_count, name)) &&
           !matches_any(choice->exclude, choice->exclude_count, name);
}

static bool is_within(const char *path, const char *fence)
{
    size_t bytes = strlen(fence);
    return strncmp(path, fence, bytes) == 0 && (path[bytes] == '/' || bytes == 1);
}

static tn_status resolve(const char *path, char ret_real[PATH_MAX], tn_error *err)
{
    if (realpath(path, ret_real))
        return TN_OK;
    return tn_fail(err, errno == ENOENT ? TN_E_NOT_FOUND : TN_E_IO, "%.400s: %s", path, strerror(errno));
}

/* ---- one file ---- */

static tn_status reserve_one(source_files *files, tn_error *err)
{
    if (files->count == MODEL_FILES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "more than %d files; is this a model's directory?", MODEL_FILES_MAX);
    if (files->count < files->capacity)
        return TN_OK;
    uint32_t capacity = files->capacity ? files->capacity * 2 : 32;
    source_file *grown = realloc(files->files, capacity * sizeof *grown);
    if (!grown)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %u files", capacity);
    files->files = grown;
    files->capacity = capacity;
    return TN_OK;
}

/* The name of a blob in a cache entry is its hash. */
static void expect_hash(source_file *file, const char *fence)
{
    const char *base = strrchr(file->path, '/') + 1;
    size_t folder = (size_t)(base - file->path), fence_bytes = strlen(fence);

    if (folder == fence_bytes + strlen("/blobs/") &&
        memcmp(file->path + fence_bytes, "/blobs/", strlen("/blobs/")) == 0 &&
        (is_hex(base, DIGEST_HEX) || is_hex(base, GIT_HEX)))
        snprintf(file->expected, sizeof file->expected, "%s", base);
}

static tn_status add_file(listing *listing, const char *name, const char *real, const struct stat *entry, tn_error *err)
{
    source_files *files = listing->files;
    tn_status status = file_name_check(listing->directory, name, err);

    if (status == TN_OK)
        status = reserve_one(files, err);
    if (status != TN_OK)
        return status;
    source_file *file = &files->files[files->count];
    *file = (source_file){.name = strdup(name), .path = strdup(real), .bytes = (uint64_t)entry->st_size};
    files->count++;
    if (!file->name || !file->path)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %.200s", name);
    files->bytes += file->bytes;
    expect_hash(file, listing->fence);
    return TN_OK;
}

/* ---- directories ---- */

static tn_status list_folder(listing *listing, const char *folder, uint32_t depth, tn_error *err);

/* name: from the listed directory; a link to a folder is refused, since it may lead back up. */
static tn_status visit(listing *listing, const char *name, uint32_t depth, tn_error *err)
{
    char path[PATH_MAX], real[PATH_MAX];
    struct stat link, entry;
    tn_status status;

    if (snprintf(path, sizeof path, "%s/%s", listing->directory, name) >= (int)sizeof path)
        return tn_fail(err, TN_E_ARGUMENT, "%.300s: the path is too long", listing->directory);
    if (lstat(path, &link) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    if (S_ISDIR(link.st_mode))
        return list_folder(listing, name, depth + 1, err);
    if (!file_choice_has(listing->choice, name))
        return TN_OK;
    if ((status = resolve(path, real, err)) != TN_OK)
        return status;
    if (!is_within(real, listing->fence))
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the link leads out of %.200s; put the file itself there", path,
                       listing->fence);
    if (stat(real, &entry) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", real, strerror(errno));
    if (!S_ISREG(entry.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "%.400s is no regular file; leave it out with --exclude", path);
    return add_file(listing, name, real, &entry, err);
}

static tn_status list_folder(listing *listing, const char *folder, uint32_t depth, tn_error *err)
{
    char path[PATH_MAX], name[PATH_MAX];
    struct dirent *entry;
    tn_status status = TN_OK;

    if (depth > FILE_DEPTH_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "%.300s/%.100s: folders lie more than %d deep", listing->directory, folder,
                       FILE_DEPTH_MAX);
    if (snprintf(path, sizeof path, "%s/%s", listing->directory, folder) >= (int)sizeof path)
        return tn_fail(err, TN_E_ARGUMENT, "%.300s: the path is too long", listing->directory);
    DIR *entries = opendir(path);
    if (!entries)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    while (status == TN_OK && (entry = readdir(entries))) {
        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof name, "%s%s%s", folder, folder[0] ? "/" : "", entry->d_name) >= (int)sizeof name)
            status = tn_fail(err, TN_E_ARGUMENT, "%.300s: the path is too long", path);
        else
            status = visit(listing, name, depth, err);
    }
    closedir(entries);
    return status;
}

/* ---- Hugging Face's cache ---- */

static bool is_directory(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat entry;
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && stat(path, &entry) == 0 &&
           S_ISDIR(entry.st_mode);
}

/* The commit that refs/NAME holds; false: there is no such ref. */
static bool read_ref(const char *entry, const char *name, char ret_commit[GIT_HEX + 1])
{
    char path[PATH_MAX], text[GIT_HEX + 2] = "";

    if (snprintf(path, sizeof path, "%s/refs/%s", entry, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes == sizeof text - 1 && text[GIT_HEX] == '\n' ? GIT_HEX : bytes] = '\0';
    if (!is_hex(text, GIT_HEX))
        return false;
    memcpy(ret_commit, text, GIT_HEX + 1);
    return true;
}

/* The one snapshot, if there is one only. */
static bool only_snapshot(const char *entry, char ret_commit[GIT_HEX + 1])
{
    char path[PATH_MAX];
    struct dirent *snapshot;
    uint32_t count = 0;

    snprintf(path, sizeof path, "%.4000s/snapshots", entry);
    DIR *snapshots = opendir(path);
    while (snapshots && (snapshot = readdir(snapshots)))
        if (is_hex(snapshot->d_name, GIT_HEX) && count++ == 0)
            memcpy(ret_commit, snapshot->d_name, GIT_HEX + 1);
    if (snapshots)
        closedir(snapshots);
    return count == 1;
}

static tn_status choose_snapshot(const char *entry, const char *revision, char ret_commit[GIT_HEX + 1], tn_error *err)
{
    if (revision && (revision[0] == '/' || strstr(revision, "..")))
        return tn_fail(err, TN_E_ARGUMENT, "--revision takes a name in refs or a commit, not '%.100s'", revision);
    bool found = revision && is_hex(revision, GIT_HEX);
    if (found)
        memcpy(ret_commit, revision, GIT_HEX + 1);
    else
        found = read_ref(entry, revision ? revision : "main", ret_commit) ||
                (!revision && only_snapshot(entry, ret_commit));
    if (!found)
        return tn_fail(err, TN_E_NOT_FOUND,
                       "%.300s: the cache has no revision '%.100s'; name a commit that is in snapshots/", entry,
                       revision ? revision : "main");
    return TN_OK;
}

/* models--ORG--NAME to ORG/NAME. */
static void repository_of(const char *entry, char ret_name[NAME_MAX + 1])
{
    const char *base = strrchr(entry, '/');
    char *at = ret_name;

    base = (base ? base + 1 : entry) + strlen("models--");
    while (*base && at < ret_name + NAME_MAX) {
        bool mark = base[0] == '-' && base[1] == '-';
        *at++ = mark ? '/' : *base;
        base += mark ? 2 : 1;
    }
    *at = '\0';
}

static bool is_cache_name(const char *path)
{
    const char *base = strrchr(path, '/');
    return strncmp(base ? base + 1 : path, "models--", strlen("models--")) == 0;
}

/* If the listed directory is a cache entry, or a snapshot of one, the snapshot is listed and the entry is the fence.
 * *ret_entered: it is one. */
static tn_status enter_cache(listing *listing, const char *revision, bool *ret_entered, tn_error *err)
{
    char entry[PATH_MAX], name[NAME_MAX + 1], commit[GIT_HEX + 1];
    char *slash;

    *ret_entered = false;
    memcpy(entry, listing->directory, sizeof entry);
    if (is_cache_name(entry) && is_directory(entry, "snapshots")) {
        tn_status status = choose_snapshot(entry, revision, commit, err);
        if (status != TN_OK)
            return status;
        snprintf(listing->directory, sizeof listing->directory, "%.4000s/snapshots/%s", entry, commit);
    } else {
        if (!(slash = strrchr(entry, '/')) || !is_hex(slash + 1, GIT_HEX))
            return TN_OK;
        memcpy(commit, slash + 1, GIT_HEX + 1);
        *slash = '\0';
        if (!(slash = strrchr(entry, '/')) || strcmp(slash, "/snapshots") != 0)
            return TN_OK;
        *slash = '\0';
        if (!is_cache_name(entry))
            return TN_OK;
    }
    *ret_entered = true;
    memcpy(listing->fence, entry, sizeof entry);
    repository_of(entry, name);
    listing->files->origin =
        json_pack("{s:s, s:s, s:s, s:s}", "kind", "hf_cache", "path", entry, "repository", name, "revision", commit);
    return TN_OK;
}

/* ---- all of them ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const source_file *)a)->name, ((const source_file *)b)->name);
}

static tn_status list_directory(listing *listing, const char *revision, tn_error *err)
{
    bool entered = false;
    tn_status status = enter_cache(listing, revision, &entered, err);

    if (status == TN_OK && !entered) {
        if (revision)
            return tn_fail(err, TN_E_ARGUMENT, "%.300s is no Hugging Face cache entry, so it has no --revision",
                           listing->directory);
        memcpy(listing->fence, listing->directory, sizeof listing->fence);
        listing->files->origin = json_pack("{s:s, s:s}", "kind", "directory", "path", listing->directory);
    }
    if (status == TN_OK)
        status = list_folder(listing, "", 0, err);
    if (status == TN_OK && listing->files->count == 0)
        status = tn_fail(err, TN_E_ARGUMENT, "%.300s: there are no files to log", listing->directory);
    if (status == TN_OK)
        qsort(listing->files->files, listing->files->count, sizeof *listing->files->files, by_name);
    if (status == TN_OK && !(listing->files->directory = strdup(listing->directory)))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for a path");
    return status;
}

static tn_status list_one_file(listing *listing, const char *path, const struct stat *entry, tn_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

    if (!dot || strcmp(dot, ".gguf") != 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "%.300s is neither a GGUF file nor a directory; log the directory of safetensors files", path);
    listing->files->origin = json_pack("{s:s, s:s}", "kind", "gguf", "path", listing->directory);
    return add_file(listing, name, listing->directory, entry, err);
}

tn_status source_files_list(const char *path, const char *revision, const file_choice *choice, source_files *ret_files,
                            tn_error *err)
{
    listing listing = {.choice = choice, .files = ret_files};
    struct stat entry;

    memset(ret_files, 0, sizeof *ret_files);
    tn_status status = resolve(path, listing.directory, err);
    if (status != TN_OK)
        return status;
    if (stat(listing.directory, &entry) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    if (S_ISDIR(entry.st_mode))
        status = list_directory(&listing, revision, err);
    else if (S_ISREG(entry.st_mode))
        status = list_one_file(&listing, path, &entry, err);
    else
        status = tn_fail(err, TN_E_ARGUMENT, "%.400s is neither a file nor a directory", path);
    if (status == TN_OK && !ret_files->origin)
        status = tn_fail(err, TN_E_ARGUMENT, "%.300s: the path is not UTF-8", path);
    return status;
}

void source_files_finish(source_files *files)
{
    for (uint32_t i = 0; i < files->count; i++) {
        free(files->files[i].name);
        free(files->files[i].path);
    }
    free(files->files);
    free(files->directory);
    json_decref(files->origin);
    memset(files, 0, sizeof *files);
}
