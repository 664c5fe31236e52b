/* files.c: rendered files in memory, and as a folder. */
#include "target/target.h"

#include "file/directory.h"
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

void target_files_finish(target_files *files)
{
    for (uint32_t i = 0; i < files->count; i++) {
        explicit_bzero(files->at[i].text, strlen(files->at[i].text));
        free(files->at[i].text);
    }
    *files = (target_files){0};
}
