/* secret.c: see secret.h. */
#include "group/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static tn_status read_bytes(int fd, const char *path, group_secret *secret, tn_error *err)
{
    struct stat info;
    if (fstat(fd, &info) || !S_ISREG(info.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "group.secret_file %.300s is not a file", path);
    if (info.st_mode & 077)
        return tn_fail(err, TN_E_ARGUMENT,
                       "group.secret_file %.200s can be read by other users (mode %03o): chmod 600 it", path,
                       (unsigned)info.st_mode & 0777);
    ssize_t n = read(fd, secret->bytes, sizeof secret->bytes);
    if (n < 0)
        return tn_fail(err, TN_E_IO, "cannot read group.secret_file %.300s: %s", path, strerror(errno));
    secret->n = (size_t)n;
    return TN_OK;
}

static tn_status read_file(const char *path, group_secret *secret, tn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "cannot open group.secret_file %.300s: %s", path, strerror(errno));
    tn_status status = read_bytes(fd, path, secret, err);
    close(fd);
    return status;
}

tn_status group_secret_read(const settings *settings, group_variable variable, group_secret *ret_secret, tn_error *err)
{
    const char *path = settings_string(settings, "group", "secret_file"), *text = variable(GROUP_SECRET_VARIABLE);
    group_secret *secret = ret_secret;
    tn_status status = TN_OK;
    secret->n = 0;
    if (path) {
        status = read_file(path, secret, err);
    } else if (text) {
        secret->n = strnlen(text, sizeof secret->bytes);
        memcpy(secret->bytes, text, secret->n);
    }
    if (status != TN_OK)
        return status;
    if (secret->n > GROUP_SECRET_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the group's secret has more than %d bytes", GROUP_SECRET_MAX);
    while (secret->n && strchr(" \t\r\n", secret->bytes[secret->n - 1]))
        secret->n--;
    if (secret->n >= GROUP_SECRET_MIN)
        return TN_OK;
    return tn_fail(
        err, TN_E_ARGUMENT,
        "%s for a TCP store, so that strangers cannot join: give all processes the same file in "
        "group.secret_file (openssl rand -hex 32 > FILE; chmod 600 FILE), or the same " GROUP_SECRET_VARIABLE,
        secret->n ? "the group's secret has fewer than 16 bytes, too few" : "a group needs a secret");
}

void group_secret_clear(group_secret *secret)
{
    explicit_bzero(secret, sizeof *secret);
}
