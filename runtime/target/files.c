/* files.c: rendered files in memory, and as a folder. */
#include "target/target.h"

#include "file/directory.h"
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Settings have at most some hundred lines. */
enum { FILE_BYTES_MAX = 4 << 20 };

tn_status target_files_add(target_files *files, const char *name, char *text, bool secret, tn_error *err)
{
    TN_ASSERT(files->count < TARGET_FILES_MAX);
    target_file *file = &files->at[files->count];
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %s", name);
    TN_ASSERT(strlen(name) < sizeof file->name && !strchr(name, '/'));
    *file = (target_file){.text = text, .secret = secret};
    memcpy(file->name, name, strlen(name) + 1);
    files->count++;
    return TN_OK;
}

/* Its mode is right before its first byte is there. */
static tn_status write_one(const target_file *file, const char *directory, tn_error *err)
{
    whole_file out;
    tn_status status = whole_file_begin(&out, directory, file->name, err);

    if (status != TN_OK)
        return status;
    if (file->secret && fchmod(out.fd, S_IRUSR | S_IWUSR) != 0)
        status = tn_fail(err, TN_E_IO, "%.300s: %s", out.path, strerror(errno));
    if (status == TN_OK)
        status = whole_file_write(&out, file->text, strlen(file->text), err);
    if (status == TN_OK)
        return whole_file_end(&out, err);
    whole_file_abandon(&out);
    return status;
}

tn_status target_files_write(const target_files *files, const char *directory, tn_error *err)
{
    tn_status status = directory_make(directory, err);

    for (uint32_t i = 0; status == TN_OK && i < files->count; i++)
        status = write_one(&files->at[i], directory, err);
    return status;
}

/* Absent is fine, and adds nothing. */
static tn_status read_one(target_files *files, const char *directory, const char *name, tn_error *err)
{
    char path[PATH_MAX];
    struct stat info = {.st_size = 0};

    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return tn_fail(err, TN_E_ARGUMENT, "%.200s: the path is too long", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? TN_OK : tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    tn_status status = TN_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > FILE_BYTES_MAX)
        status = tn_fail(err, TN_E_CORRUPT, "%.400s: it is none of Tenon's files", path);
    char *text = status == TN_OK ? calloc((size_t)info.st_size + 1, 1) : NULL;
    if (text && !read_all(fd, text, (uint64_t)info.st_size, 0))
        status = tn_fail(err, TN_E_IO, "%.400s: it cannot be read whole", path);
    close(fd);
    if (status == TN_OK)
        return target_files_add(files, name, text, !(info.st_mode & (S_IRGRP | S_IROTH)), err);
    free(text);
    return status;
}

tn_status target_files_read(const char *directory, const char *const *names, target_files *ret_files, tn_error *err)
{
    target_files files = {.count = 0};
    tn_status status = TN_OK;

    for (; status == TN_OK && *names; names++)
        status = read_one(&files, directory, *names, err);
    if (status != TN_OK) {
        target_files_finish(&files);
        return status;
    }
    *ret_files = files;
    return TN_OK;
}

bool target_files_have(const target_files *files, const char *name)
{
    for (uint32_t i = 0; i < files->count; i++)
        if (strcmp(files->at[i].name, name) == 0)
            return true;
    return false;
}

void target_files_finish(target_files *files)
{
    for (uint32_t i = 0; i < files->count; i++) {
        explicit_bzero(files->at[i].text, strlen(files->at[i].text));
        free(files->at[i].text);
    }
    *files = (target_files){0};
}
