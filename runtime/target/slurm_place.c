/* slurm_place.c: see slurm_place.h. The folder is the operator's, on a file system that jobs write to. */
#include "target/slurm_place.h"

#include "file/whole_file.h"
#include "service/wish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

tn_status slurm_place(const settings *settings, const char *name, char ret_folder[PATH_MAX], tn_error *err)
{
    const char *folder = settings_string(settings, "target slurm", "directory"), *home = getenv("HOME");
    /* A log's name and whole_file's go after it. */
    const int room = PATH_MAX - SERVICE_NAME_BYTES_MAX - 64;
    int bytes = folder ? snprintf(ret_folder, PATH_MAX, "%s", folder)
                       : snprintf(ret_folder, PATH_MAX, "%s/tenon-services", home ? home : ".");

    if (bytes >= room || ret_folder[0] != '/' || !wish_fits_a_line(ret_folder))
        return tn_fail(
            err, TN_E_ARGUMENT,
            "[target slurm] directory: \"%.200s\" is no absolute path of one line; set one that all nodes see",
            ret_folder);
    if (name)
        snprintf(ret_folder + bytes, (size_t)(PATH_MAX - bytes), "/%s", name);
    return TN_OK;
}

bool slurm_place_is(const char *a, const char *b)
{
    for (;;) {
        size_t x = strspn(a, "/"), y = strspn(b, "/");
        a += x;
        b += y;
        if (!*a || !*b)
            return *a == *b;
        if ((x > 0) != (y > 0) || *a++ != *b++)
            return false;
    }
}

/* The user's private group has no other members. */
static bool others_write(const struct stat *info)
{
    return info->st_mode & S_IWOTH || (info->st_mode & S_IWGRP && info->st_gid != 0 && info->st_gid != info->st_uid);
}

tn_status slurm_place_check(const char *folder, tn_error *err)
{
    char parent[PATH_MAX];
    struct stat own, above;

    if (lstat(folder, &own) != 0)
        return errno == ENOENT || errno == ENOTDIR ? TN_OK
                                                   : tn_fail(err, TN_E_IO, "%.400s: %s", folder, strerror(errno));
    if (own.st_uid != geteuid())
        return tn_fail(err, TN_E_NOT_FOUND,
                       "%.300s belongs to another user (%u): choose another name, or set [target slurm] directory to a "
                       "folder of your own",
                       folder, (unsigned)own.st_uid);
    if (!S_ISDIR(own.st_mode) || others_write(&own))
        return tn_fail(err, TN_E_ARGUMENT, "%.300s is %s: chmod go-w it, and look at what is in it", folder,
                       S_ISDIR(own.st_mode) ? "a folder that other users can change" : "no folder");
    snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(folder, '/') - folder), folder);
    if (stat(*parent ? parent : "/", &above) != 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", parent, strerror(errno));
    if ((above.st_uid != geteuid() && above.st_uid != 0) || (others_write(&above) && !(above.st_mode & S_ISVTX)))
        return tn_fail(
            err, TN_E_ARGUMENT,
            "[target slurm] directory: other users can put something in the place of what is in %.300s: chmod "
            "go-w it, or chmod +t where several use it",
            parent);
    return TN_OK;
}

tn_status slurm_record_read(const char *folder, const char *name, json_t **ret_record, tn_error *err)
{
    char path[PATH_MAX + 32];
    json_error_t at;

    snprintf(path, sizeof path, "%s/" SLURM_RECORD, folder);
    if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return tn_fail(err, TN_E_NOT_FOUND, "there is no service \"%.80s\" on slurm in %.300s", name, folder);
    json_t *record = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    if (!record)
        return tn_fail(err, TN_E_CORRUPT, "%.300s: %.100s; restore the file, or remove the folder", path, at.text);
    const char *written = json_string_value(json_object_get(record, "name"));
    if (!written || strcmp(written, name) != 0 || !json_is_integer(json_object_get(record, "min")) ||
        !json_is_integer(json_object_get(record, "max"))) {
        json_decref(record);
        return tn_fail(err, TN_E_CORRUPT, "%.300s: it is not about \"%.80s\"; restore the file, or remove the folder",
                       path, name);
    }
    *ret_record = record;
    return TN_OK;
}

tn_status slurm_record_write(const char *folder, const json_t *record, tn_error *err)
{
    char *text = json_dumps(record, JSON_INDENT(1));

    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a service's record");
    tn_status status = whole_file_put(folder, SLURM_RECORD, text, strlen(text), err);
    free(text);
    return status;
}

/* ---- small files ---- */

static void path_of(char path[PATH_MAX + 64], const char *folder, const char *job, const char *ending)
{
    snprintf(path, PATH_MAX + 64, "%s/%.40s.%s", folder, job, ending);
}

static bool read_path(const char *path, char *ret_text, size_t bytes)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);

    if (fd < 0)
        return false;
    ssize_t count = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? read(fd, ret_text, bytes - 1) : -1;
    close(fd);
    if (count < 0)
        return false;
    ret_text[count] = '\0';
    return true;
}

bool slurm_file_read(const char *folder, const char *job, const char *ending, char *ret_text, size_t bytes)
{
    char path[PATH_MAX + 64];

    path_of(path, folder, job, ending);
    return read_path(path, ret_text, bytes);
}

bool slurm_file_exists(const char *folder, const char *job, const char *ending)
{
    char path[PATH_MAX + 64];

    path_of(path, folder, job, ending);
    return access(path, F_OK) == 0;
}

tn_status slurm_file_touch(const char *folder, const char *job, const char *ending, tn_error *err)
{
    char path[PATH_MAX + 64];

    path_of(path, folder, job, ending);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    close(fd);
    return TN_OK;
}

static bool has_ending(const char *name, const char *ending)
{
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot + 1, ending) == 0;
}

void slurm_files_remove(const char *folder, const char *ending)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;

    while (directory && (entry = readdir(directory)))
        if (has_ending(entry->d_name, ending))
            unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
}

bool slurm_files_find(const char *folder, const char *ending, char *ret_text, size_t bytes)
{
    char path[PATH_MAX + NAME_MAX + 2];
    DIR *directory = opendir(folder);
    struct dirent *entry;
    bool found = false;

    while (directory && !found && (entry = readdir(directory))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        found = has_ending(entry->d_name, ending) && read_path(path, ret_text, bytes);
    }
    if (directory)
        closedir(directory);
    return found;
}
