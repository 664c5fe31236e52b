/* runtime/plugin/plugin_file.c: see plugin_file.h. The digest is nettle's, the library behind GnuTLS: small, long kept,
 * without global state.
 *
 * File and folders are checked before the bytes are read; after that only root and the user could change them, and
 * against those two no check helps.
 */
#include "plugin/plugin_file.h"

#include "base/edit_distance.h"
#include "base/hex.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEX_BYTES = 2 * SHA256_DIGEST_SIZE, NAME_BYTES_MAX = 64, NAMES_MAX = 256 };

/* ---- the spec ---- */

typedef struct plugin_spec {
    char name[PATH_MAX]; /* bare name or path */
    bool pinned;
    char pin[HEX_BYTES + 1]; /* lower case */
} plugin_spec;

static tn_status parse_pin(const char *hex, const char *spec, plugin_spec *parsed, tn_error *err)
{
    size_t n = 0;
    for (; n < HEX_BYTES && isxdigit((unsigned char)hex[n]); n++)
        parsed->pin[n] = (char)tolower((unsigned char)hex[n]);
    if (n != HEX_BYTES || hex[n])
        return tn_fail(err, TN_E_ARGUMENT, "plugin %s: sha256= takes exactly 64 hexadecimal digits", spec);
    parsed->pinned = true;
    return TN_OK;
}

static tn_status parse_spec(const char *spec, plugin_spec *ret_parsed, tn_error *err)
{
    static const char mark[] = " sha256=";
    plugin_spec parsed = {.pinned = false};
    const char *pin = strstr(spec, mark);
    size_t n = pin ? (size_t)(pin - spec) : strlen(spec);
    while (n && isblank((unsigned char)spec[n - 1]))
        n--;
    if (n == 0 || n >= sizeof parsed.name)
        return tn_fail(err, TN_E_ARGUMENT,
                       "a plugin is named by its bare name or by an absolute path, not by \"%.80s\"", spec);
    memcpy(parsed.name, spec, n);
    tn_status status = pin ? parse_pin(pin + sizeof mark - 1, spec, &parsed, err) : TN_OK;
    if (status == TN_OK)
        *ret_parsed = parsed;
    return status;
}

static bool is_bare_name(const char *name)
{
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] == 0;
}

/* The path to look at; symbolic links still in it. */
static tn_status candidate_path(const char *name, const char *folder, char ret_path[PATH_MAX], tn_error *err)
{
    char path[PATH_MAX];
    int n;
    if (*name == '/')
        n = snprintf(path, sizeof path, "%s", name);
    else if (is_bare_name(name))
        n = snprintf(path, sizeof path, "%s/%s.so", folder, name);
    else
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s: relative paths are not accepted; give an absolute path, or a bare name to look up "
            "in %.120s",
            name, folder);
    if (n < 0 || (size_t)n >= sizeof path)
        return tn_fail(err, TN_E_ARGUMENT, "plugin %.80s...: the path is longer than %d bytes", name, PATH_MAX - 1);
    memcpy(ret_path, path, sizeof path);
    return TN_OK;
}

/* The bare name of a plugin in the folder that comes nearest to `name`; false if none is near. */
static bool nearest_plugin(const char *name, const char *folder, char ret_name[NAME_BYTES_MAX])
{
    char names[NAMES_MAX][NAME_BYTES_MAX];
    const char *known[NAMES_MAX];
    size_t count = 0;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && count < NAMES_MAX && (entry = readdir(entries));) {
        size_t n = strlen(entry->d_name);
        if (n <= 3 || n - 3 >= NAME_BYTES_MAX || strcmp(entry->d_name + n - 3, ".so") != 0)
            continue;
        memcpy(names[count], entry->d_name, n - 3);
        names[count][n - 3] = 0;
        known[count] = names[count];
        count++;
    }
    if (entries)
        closedir(entries);
    const char *nearest = nearest_name(name, known, count);
    if (nearest)
        memcpy(ret_name, nearest, strlen(nearest) + 1);
    return nearest;
}

static tn_status real_path(const plugin_spec *spec, const char *folder, char ret_path[PATH_MAX], tn_error *err)
{
    char path[PATH_MAX];
    tn_status status = candidate_path(spec->name, folder, path, err);
    if (status != TN_OK)
        return status;
    if (realpath(path, ret_path))
        return TN_OK;
    if (errno != ENOENT && errno != ENOTDIR)
        return tn_fail(err, TN_E_IO, "plugin %.300s cannot be reached: %s", path, strerror(errno));
    if (*spec->name == '/')
        return tn_fail(err, TN_E_NOT_FOUND, "plugin %.300s does not exist", path);
    char nearest[NAME_BYTES_MAX];
    if (nearest_plugin(spec->name, folder, nearest))
        return tn_fail(err, TN_E_NOT_FOUND,
                       "there is no plugin \"%.80s\"; did you mean \"%s\"? If not: %.200s does not exist; install it "
                       "there, give an absolute path, or set [plugins] path",
                       spec->name, nearest, path);
    return tn_fail(err, TN_E_NOT_FOUND,
                   "there is no plugin \"%.80s\": %.200s does not exist; install it there, give an absolute path, or "
                   "set [plugins] path",
                   spec->name, path);
}

/* ---- trust ---- */

/* gid 0 and the user's private group hold nobody whom the owner check does not already trust. */
static bool others_can_write(const struct stat *info)
{
    bool trusted_group = info->st_gid == 0 || info->st_gid == geteuid();
    return (info->st_mode & S_IWOTH) || ((info->st_mode & S_IWGRP) && !trusted_group);
}

/* what: the whole path or one of its parents, `path` the plugin for which it is checked. */
static tn_status check_trust(const char *what, const char *path, const struct stat *info, tn_error *err)
{
    bool is_folder = S_ISDIR(info->st_mode);
    const char *relation = is_folder ? "lies in a folder that" : "is a file that";
    if (info->st_uid != 0 && info->st_uid != geteuid())
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s %s uid %u owns (%.120s); it must belong to root or to uid %u, who runs Tenon: chown it",
            path, relation, (unsigned)info->st_uid, what, (unsigned)geteuid());
    if (is_folder && (info->st_mode & S_ISVTX))
        return TN_OK;
    if (others_can_write(info))
        return tn_fail(err, TN_E_ARGUMENT,
                       "plugin %.200s %s others can write to (%.120s, mode %04o): chmod go-w %.120s", path, relation,
                       what, (unsigned)(info->st_mode & 07777), what);
    return TN_OK;
}

static tn_status check_parents(const char *path, tn_error *err)
{
    char parent[PATH_MAX];
    memcpy(parent, path, strlen(path) + 1);
    for (char *slash; (slash = strrchr(parent, '/'));) {
        bool root = slash == parent;
        slash[root] = 0;
        struct stat info;
        if (stat(parent, &info))
            return tn_fail(err, TN_E_IO, "plugin %.200s: cannot look at its folder %.120s: %s", path, parent,
                           strerror(errno));
        tn_status status = check_trust(parent, path, &info, err);
        if (status != TN_OK || root)
            return status;
    }
    return TN_OK;
}

/* ---- contents ---- */

static tn_status hash_file(int fd, const char *path, char ret_hex[HEX_BYTES + 1], tn_error *err)
{
    struct sha256_ctx context;
    uint8_t block[1 << 14], digest[SHA256_DIGEST_SIZE];
    ssize_t n;
    sha256_init(&context);
    while ((n = read(fd, block, sizeof block)) > 0)
        sha256_update(&context, (size_t)n, block);
    if (n < 0)
        return tn_fail(err, TN_E_IO, "plugin %.300s cannot be read: %s", path, strerror(errno));
    sha256_digest(&context, sizeof digest, digest);
    hex_of(digest, sizeof digest, ret_hex);
    return TN_OK;
}

static tn_status check_pin(int fd, const char *path, const plugin_spec *spec, tn_error *err)
{
    char hex[HEX_BYTES + 1];
    if (!spec->pinned)
        return TN_OK;
    tn_status status = hash_file(fd, path, hex, err);
    if (status != TN_OK || !strcmp(hex, spec->pin))
        return status;
    return tn_fail(
        err, TN_E_ARGUMENT,
        "plugin %.200s is not the pinned file: its sha256 is %s, the settings ask for %s; if you replaced it "
        "yourself, update the pin",
        path, hex, spec->pin);
}

static tn_status check_contents(int fd, const plugin_spec *spec, plugin_file *file, tn_error *err)
{
    struct stat info;
    char magic[4];
    if (fstat(fd, &info))
        return tn_fail(err, TN_E_IO, "plugin %.300s cannot be read: %s", file->path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return tn_fail(err, TN_E_ARGUMENT, "plugin %.300s is not a regular file", file->path);
    tn_status status = check_trust(file->path, file->path, &info, err);
    if (status == TN_OK)
        status = check_parents(file->path, err);
    if (status == TN_OK)
        status = check_pin(fd, file->path, spec, err);
    if (status != TN_OK)
        return status;
    if (pread(fd, magic, sizeof magic, 0) != (ssize_t)sizeof magic || memcmp(magic, "\177ELF", sizeof magic) != 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "plugin %.300s is not a shared library (no ELF header); name the built .so file", file->path);
    file->device = info.st_dev;
    file->inode = info.st_ino;
    return TN_OK;
}

tn_status plugin_file_find(const char *spec, const char *folder, plugin_file *ret_file, tn_error *err)
{
    plugin_spec parsed;
    plugin_file file;
    tn_status status = parse_spec(spec, &parsed, err);
    if (status == TN_OK)
        status = real_path(&parsed, folder, file.path, err);
    if (status != TN_OK)
        return status;
    /* O_NONBLOCK: a named pipe must not hold us up before it is refused. */
    int fd = open(file.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "plugin %.300s cannot be opened: %s", file.path, strerror(errno));
    status = check_contents(fd, &parsed, &file, err);
    close(fd);
    if (status == TN_OK)
        *ret_file = file;
    return status;
}
