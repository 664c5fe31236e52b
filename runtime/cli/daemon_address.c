/* daemon_address.c: see daemon_address.h. Sockets come before the port: on a port of this machine anyone may listen. */
#include "cli/daemon_address.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PLACES = 3 };

/* The first address of a list with commas that begins with `prefix`; bytes 0: none. */
static const char *find_address(const char *list, const char *prefix, size_t *ret_bytes)
{
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " ");
        if (strncmp(at, prefix, strlen(prefix)) == 0) {
            *ret_bytes = strcspn(at, ", ");
            return at;
        }
    }
    *ret_bytes = 0;
    return NULL;
}

static tn_status write_address(daemon_address *address, const char *prefix, const char *text, size_t bytes,
                               tn_error *err)
{
    if (strlen(prefix) + bytes >= sizeof address->text)
        return tn_fail(err, TN_E_ARGUMENT, "'%.60s...': the address of a daemon may have at most %d bytes", text,
                       DAEMON_ADDRESS_BYTES - 1);
    snprintf(address->text, sizeof address->text, "%s%.*s", prefix, (int)bytes, text);
    return TN_OK;
}

static bool is_socket(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* A user's own daemon, one that root runs, and that of the systemd unit. The last resort is HTTP's default port. */
static tn_status look_around(daemon_address *address, tn_error *err)
{
    const char *folder = secure_getenv("XDG_RUNTIME_DIR");
    char own[DAEMON_ADDRESS_BYTES];
    const char *places[PLACES] = {own, "/run/tenond.sock", "/run/tenon/tenond.sock"};

    if (!folder || folder[0] != '/' || snprintf(own, sizeof own, "%s/tenond.sock", folder) >= (int)sizeof own)
        own[0] = '\0';
    for (int i = 0; i < PLACES; i++)
        if (is_socket(places[i]))
            return write_address(address, "unix:", places[i], strlen(places[i]), err);
    snprintf(address->tried, sizeof address->tried, "TENON_SERVER is not set and there is no socket %s%s%s or %s", own,
             own[0] ? ", " : "", places[1], places[2]);
    return write_address(address, "", "http://127.0.0.1:8000", strlen("http://127.0.0.1:8000"), err);
}

tn_status daemon_address_find(const char *given, const args *args, daemon_address *ret_address, tn_error *err)
{
    const char *variable = secure_getenv("TENON_SERVER");
    settings *settings = NULL;
    size_t bytes;
    daemon_address address = {.text = ""};
    tn_status status = settings_read(args->ini, args->sets, &settings, err);

    if (status != TN_OK)
        return status;
    const char *listen = settings_plugin_value(settings, "http_frontend", "listen");
    const char *local = find_address(listen, "unix:", &bytes);
    if (given)
        status = write_address(&address, "", given, strlen(given), err);
    else if (local)
        status = write_address(&address, "", local, bytes, err);
    else if ((local = find_address(listen, "", &bytes)) != NULL && bytes)
        status = write_address(&address, "http://", local, bytes, err);
    else if (variable && variable[0])
        status = write_address(&address, "", variable, strlen(variable), err);
    else
        status = look_around(&address, err);
    settings_destroy(settings);
    if (status == TN_OK)
        *ret_address = address;
    return status;
}
