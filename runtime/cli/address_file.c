/* address_file.c: see address_file.h. Replaced as a whole, so that no reader sees half an address. */
#include "cli/address_file.h"

#include "file/whole_file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One address of a list, "http://0.0.0.0:8000" as "http://node7:8000". */
static void put_address(const char *address, size_t bytes, FILE *out)
{
    static const char *const all[] = {"http://0.0.0.0:", "https://0.0.0.0:", "http://[::]:", "https://[::]:"};
    char host[HOST_NAME_MAX + 1] = "";

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const size_t n = strlen(all[i]);
        if (bytes <= n || strncmp(address, all[i], n) != 0 || gethostname(host, sizeof host - 1) != 0 || !*host)
            continue;
        fprintf(out, "%.*s://%s:%.*s\n", (int)strcspn(all[i], ":"), all[i], host, (int)(bytes - n), address + n);
        return;
    }
    fprintf(out, "%.*s\n", (int)bytes, address);
}

static void put_addresses(const doors *doors, FILE *out)
{
    for (uint32_t i = 0; i < doors->count; i++) {
        const door *door = &doors->at[i];
        for (const char *at = door->table->address(door->front); *at; at += strspn(at, ", ")) {
            size_t bytes = strcspn(at, ", ");
            put_address(at, bytes, out);
            at += bytes;
        }
    }
}

tn_status address_file_write(const char *path, const doors *doors, tn_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    tn_error reason = TN_ERROR_INIT;

    if (!path)
        return TN_OK;
    FILE *out = open_memstream(&text, &bytes);
    if (out)
        put_addresses(doors, out);
    bool whole = out && fclose(out) == 0;
    tn_status status = whole ? whole_file_show(path, text, bytes, &reason)
                             : tn_fail(&reason, TN_E_MEMORY, "out of memory for its text");
    free(text);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "--address %.480s", reason.msg);
}

void address_file_remove(const char *path)
{
    if (path)
        unlink(path);
}
