/* runtime/settings/ini_file.c: feeds inih line by line, so that line numbers, lengths and bytes are checked before it
 * sees them.
 *
 * inih reads lines of at most 200 bytes as distributions build it. Longer values (several pinned plugins, deep paths)
 * are cut out here and joined again in the handler; inih sees a placeholder in their stead. inih also drops sections
 * without keys and cuts section names at 50 bytes, so headers are read here as well.
 */
#include "settings/ini_file.h"

#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <string.h>

typedef struct ini_reader_state {
    const char *path;
    const char *at, *end; /* what is still to read */
    uint32_t line;        /* 1-based, of the line inih was given last */
    char text[INI_FILE_LINE_MAX + 1];
    const char *long_value; /* within text: the value that inih got a placeholder for; NULL: none */
    ini_file_handler handler;
    void *ctx;
    tn_status status;
    tn_error *err;
} ini_reader_state;

static char *stop(ini_reader_state *state, const char *what)
{
    state->status = tn_fail(state->err, TN_E_ARGUMENT, "%s:%u: %s", state->path, state->line, what);
    return NULL;
}

static const char *line_fault(const char *line, size_t n)
{
    if (n > INI_FILE_LINE_MAX)
        return "the line is longer than 4096 bytes";
    for (size_t i = 0; i < n; i++) {
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return "the line holds a NUL or another control byte; settings are plain text";
    }
    return utf8_is_valid(line, n) ? NULL : "the line is not valid UTF-8";
}

/* Takes one line out of the input into state->text, without line end and surrounding blanks. */
static bool take_line(ini_reader_state *state)
{
    const char *from = state->at;
    const char *newline = memchr(from, '\n', (size_t)(state->end - from));
    const char *to = newline ? newline : state->end;
    state->at = newline ? newline + 1 : state->end;
    state->line++;
    if (state->line == 1 && to - from >= 3 && !memcmp(from, "\xEF\xBB\xBF", 3))
        from += 3;
    if (to > from && to[-1] == '\r')
        to--;
    const char *fault = line_fault(from, (size_t)(to - from));
    if (fault)
        return stop(state, fault);
    while (from < to && isblank((unsigned char)*from))
        from++;
    while (to > from && isblank((unsigned char)to[-1]))
        to--;
    memcpy(state->text, from, (size_t)(to - from));
    state->text[to - from] = 0;
    return true;
}

/* "[name]", then at most a comment. Tells the handler, so that an unknown section is found even when it is empty. */
static bool check_header(ini_reader_state *state)
{
    char name[INI_FILE_SECTION_MAX + 1];
    const char *close = strchr(state->text, ']');
    if (!close)
        return stop(state, "the section header lacks its ']'");
    size_t n = (size_t)(close - state->text - 1);
    if (n == 0 || n > INI_FILE_SECTION_MAX)
        return stop(state, "a section name has 1 to 48 bytes");
    const char *rest = close + 1 + strspn(close + 1, " \t");
    if (*rest && *rest != ';' && *rest != '#')
        return stop(state, "text follows the section header; put the key on a line of its own");
    memcpy(name, state->text + 1, n);
    name[n] = 0;
    state->status = state->handler(state->ctx, name, NULL, NULL, state->line, state->err);
    state->text[n + 2] = 0;
    return state->status == TN_OK;
}

/* inih's own rule: a ';' after a blank starts a comment. */
static void cut_comment(char *value)
{
    for (char *at = value; *at; at++) {
        if (*at == ';' && at > value && isblank((unsigned char)at[-1])) {
            while (at > value && isblank((unsigned char)at[-1]))
                at--;
            *at = 0;
            return;
        }
    }
}

static char *give_long_line(ini_reader_state *state, char *out, size_t cap)
{
    static const char placeholder[] = "=long";
    char *equals = strpbrk(state->text, "=:");
    if (!equals)
        return stop(state, "expected \"key = value\"");
    size_t key_bytes = (size_t)(equals - state->text);
    if (key_bytes + sizeof placeholder > cap)
        return stop(state, "the key is too long");
    memcpy(out, state->text, key_bytes);
    memcpy(out + key_bytes, placeholder, sizeof placeholder);
    char *value = equals + 1 + strspn(equals + 1, " \t");
    cut_comment(value);
    state->long_value = value;
    return out;
}

static char *next_line(char *out, int cap, void *stream)
{
    ini_reader_state *state = stream;
    state->long_value = NULL;
    if (state->status != TN_OK || state->at == state->end || !take_line(state))
        return NULL;
    if (*state->text == ';' || *state->text == '#')
        *state->text = 0;
    if (*state->text == '[' && !check_header(state))
        return NULL;
    size_t n = strlen(state->text);
    if (n + 3 > (size_t)cap)
        return give_long_line(state, out, (size_t)cap);
    memcpy(out, state->text, n);
    memcpy(out + n, "\n", 2);
    return out;
}

static int on_pair(void *user, const char *section, const char *key, const char *value)
{
    ini_reader_state *state = user;
    if (state->status != TN_OK)
        return 0;
    if (!*section) {
        stop(state, "a key stands before the first [section]");
        return 0;
    }
    if (!*key) {
        stop(state, "expected \"key = value\"");
        return 0;
    }
    value = state->long_value ? state->long_value : value;
    state->status = state->handler(state->ctx, section, key, value, state->line, state->err);
    return state->status == TN_OK;
}

tn_status ini_file_parse(const char *path, const char *bytes, size_t n, ini_file_handler handler, void *ctx,
                         tn_error *err)
{
    ini_reader_state state = {
        .path = path, .at = bytes, .end = bytes + n, .handler = handler, .ctx = ctx, .status = TN_OK, .err = err};
    int line = ini_parse_stream(next_line, &state, on_pair, &state);
    /* inih reads on after a line it cannot parse, so our own complaint may be about a later one. */
    if (line > 0 && (state.status == TN_OK || (uint32_t)line < state.line)) {
        state.line = (uint32_t)line;
        stop(&state, "expected \"key = value\" or \"[section]\"");
    }
    if (line < 0 && state.status == TN_OK)
        return tn_fail(err, TN_E_MEMORY, "%s: out of memory", path);
    return state.status;
}

tn_status ini_file_read(const char *path, ini_file_handler handler, void *ctx, tn_error *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return tn_fail(err, TN_E_IO, "cannot open the settings file %s: %s", path, strerror(errno));
    char *bytes = malloc(INI_FILE_BYTES_MAX + 1);
    if (!bytes) {
        fclose(file);
        return tn_fail(err, TN_E_MEMORY, "%s: out of memory", path);
    }
    size_t n = fread(bytes, 1, INI_FILE_BYTES_MAX + 1, file);
    tn_status status;
    if (ferror(file))
        status = tn_fail(err, TN_E_IO, "cannot read the settings file %s: %s", path, strerror(errno));
    else if (n > INI_FILE_BYTES_MAX)
        status = tn_fail(err, TN_E_ARGUMENT, "%s: larger than 1 MiB, which no settings file is", path);
    else
        status = ini_file_parse(path, bytes, n, handler, ctx, err);
    fclose(file);
    free(bytes);
    return status;
}
