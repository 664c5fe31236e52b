/* program.c: programs of a cluster, run as a person would run them, and what they say when they refuse. */
#include "target/target.h"

#include "service/child.h"

#include <errno.h>
#include <string.h>

/* OUTPUT_BYTES_MAX: where child_run cuts. */
enum { PROGRAM_TIMEOUT_MS = 120 * 1000, OUTPUT_BYTES_MAX = 1 << 20 };

/* The last line that is not empty, without the program's own name in front. Cuts text. */
static const char *last_words(char *text, const char *program)
{
    size_t bytes = strlen(text), name = strlen(program);

    while (bytes && strchr("\n\r \t", text[bytes - 1]))
        text[--bytes] = '\0';
    char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (strncmp(line, program, name) == 0 && line[name] == ':')
        line += name + 1 + strspn(line + name + 1, " ");
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return line;
}

tn_status target_run(const char *const *words, const char *package, char **ret_out, tn_error *err)
{
    tn_error why = TN_ERROR_INIT;
    char *out = NULL, *error = NULL;
    int code = 0;
    tn_status status =
        child_run(words[0], (char *const *)(uintptr_t)words, NULL, PROGRAM_TIMEOUT_MS, &out, &error, &code, &why);

    if (status != TN_OK) {
        if (why.native_code == ENOENT)
            return tn_fail(err, TN_E_NOT_FOUND, "%s is not on the PATH of this machine; %s has it", words[0], package);
        return tn_fail(err, status, "%s", why.msg);
    }
    if (code < 0)
        status = tn_fail(err, TN_E_IO, "%s was ended by signal %d", words[0], -code);
    else if (code > 0)
        status = tn_fail(err, TN_E_IO, "%s: %.440s", words[0],
                         *last_words(error, words[0]) ? last_words(error, words[0]) : "it failed without a word");
    if (status == TN_OK && ret_out && strlen(out) >= OUTPUT_BYTES_MAX)
        status =
            tn_fail(err, TN_E_IO, "%s says more than the %d MiB that are read of it", words[0], OUTPUT_BYTES_MAX >> 20);
    if (status == TN_OK && ret_out) {
        *ret_out = out;
        out = NULL;
    }
    free(out);
    free(error);
    return status;
}
