/* token_file.c: see token_file.h. */
#include "auth/token_file.h"

#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTES_MAX = 1 << 20 };

static token_file_stamp stamp_of(const struct stat *info)
{
    return (token_file_stamp){.device = (uint64_t)info->st_dev,
                              .inode = (uint64_t)info->st_ino,
                              .bytes = (uint64_t)info->st_size,
                              .changed_ns = (int64_t)info->st_ctim.tv_sec * 1000000000 + info->st_ctim.tv_nsec};
}

static tn_status fail_open(const char *path, tn_error *err)
{
    if (errno == ENOENT)
        return tn_fail(err, TN_E_NOT_FOUND,
                       "there is no token file %.300s; `tenon token create NAME --scope admin` makes it", path);
    return tn_fail(err, TN_E_IO, "token file %.300s: %s", path, strerror(errno));
}

tn_status token_file_look(const char *path, token_file_stamp *ret_stamp, tn_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return fail_open(path, err);
    *ret_stamp = stamp_of(&info);
    return TN_OK;
}

static tn_status check_owner(const char *path, const struct stat *info, tn_error *err)
{
    if (!S_ISREG(info->st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "token file %.300s is not a file", path);
    if (info->st_uid != geteuid() && info->st_uid != 0)
        return tn_fail(err, TN_E_ARGUMENT, "token file %.300s belongs to another user (%u): chown it", path,
                       (unsigned)info->st_uid);
    /* What root gives to this user's group, as Kubernetes mounts a Secret, is as good as a file of its own. */
    if (info->st_mode & (info->st_uid == 0 && geteuid() != 0 ? 037 : 077))
        return tn_fail(err, TN_E_ARGUMENT, "token file %.300s is open to other users (mode %03o): chmod 600 it", path,
                       (unsigned)info->st_mode & 0777);
    if (info->st_size > BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "token file %.300s is larger than 1 MiB", path);
    return TN_OK;
}

static tn_status read_open(int fd, const char *path, token_list *ret_list, token_file_stamp *ret_stamp, tn_error *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return fail_open(path, err);
    tn_status status = check_owner(path, &info, err);
    if (status != TN_OK)
        return status;
    char *text = malloc((size_t)info.st_size + 1);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for token file %.300s", path);
    if (read_all(fd, text, (uint64_t)info.st_size, 0))
        status = token_list_parse(path, text, (size_t)info.st_size, ret_list, err);
    else
        status = tn_fail(err, TN_E_IO, "token file %.300s cannot be read whole", path);
    free(text);
    if (status == TN_OK && ret_stamp)
        *ret_stamp = stamp_of(&info);
    return status;
}

tn_status token_file_read(const char *path, token_list *ret_list, token_file_stamp *ret_stamp, tn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_open(path, err);
    tn_status status = read_open(fd, path, ret_list, ret_stamp, err);
    close(fd);
    return status;
}

/* ---- changing ---- */

struct token_change {
    whole_file file;
};

static tn_status take(token_change *change, const char *path, tn_error *err)
{
    tn_status status = whole_file_begin_path(&change->file, path, err);
    if (status == TN_OK && fchmod(change->file.fd, 0600) != 0) {
        status = tn_fail(err, TN_E_IO, "token file %.300s: %s", path, strerror(errno));
        whole_file_abandon(&change->file);
    }
    return status;
}

tn_status token_change_begin(const char *path, token_list *ret_list, token_change **ret_change, tn_error *err)
{
    token_list list = {0};
    token_change *change = calloc(1, sizeof *change);

    if (!change)
        return tn_fail(err, TN_E_MEMORY, "out of memory for token file %.300s", path);
    tn_status status = take(change, path, err);
    if (status != TN_OK) {
        free(change);
        return status;
    }
    status = token_file_read(path, &list, NULL, err);
    if (status != TN_OK && status != TN_E_NOT_FOUND) {
        token_change_abandon(change);
        return status;
    }
    *ret_list = list;
    *ret_change = change;
    return TN_OK;
}

tn_status token_change_end(token_change *change, const token_list *list, tn_error *err)
{
    static const char head[] = "# Tokens of Tenon, written by `tenon token`, which keeps no comments: name, scopes, "
                               "created, expires, SHA-256.\n";
    char line[TOKEN_LINE_BYTES];

    tn_status status = whole_file_write(&change->file, head, sizeof head - 1, err);
    for (uint32_t i = 0; status == TN_OK && i < list->count; i++)
        status = whole_file_write(&change->file, line, token_format(&list->at[i], line), err);
    if (status != TN_OK) {
        token_change_abandon(change);
        return status;
    }
    status = whole_file_end(&change->file, err);
    free(change);
    return status;
}

void token_change_abandon(token_change *change)
{
    if (!change)
        return;
    whole_file_abandon(&change->file);
    free(change);
}
