/* multipart.c: the boundary is matched byte by byte: it begins with '\r', which does not come again in it, so that a
 * match that fails can only begin anew at the byte where it failed. */
#include "jobs/multipart.h"

#include "base/utf8.h"

#include <string.h>
#include <strings.h>

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

static const char *skip_spaces(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

/* ---- parameters: ; name=token or ; name="text" ---- */

/* One value at *at, into text. False: it is broken, or longer than bytes - 1. */
static bool read_value(const char **at, char *text, size_t bytes)
{
    const char *from = *at;
    const bool quoted = *from == '"';
    size_t n = 0;

    for (from += quoted; *from && (quoted ? *from != '"' : *from != ';' && !is_space(*from)); from++) {
        if (quoted && *from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        if (n + 1 >= bytes)
            return false;
        text[n++] = *from;
    }
    text[n] = '\0';
    if (quoted && *from++ != '"')
        return false;
    *at = from;
    return true;
}

/* The parameter `name` of a header's value; *ret_found: whether there is one. False: the value is broken. */
static bool find_parameter(const char *value, const char *name, char *text, size_t bytes, bool *ret_found)
{
    char other[MULTIPART_HEAD_BYTES_MAX + 1];
    const size_t name_bytes = strlen(name);
    const char *at = value + strcspn(value, ";");

    *ret_found = false;
    while (*at == ';') {
        at = skip_spaces(at + 1);
        size_t length = strcspn(at, "=;");
        bool wanted = length == name_bytes && strncasecmp(at, name, length) == 0;
        at += length;
        if (*at != '=') {
            if (*skip_spaces(at) == '\0' && length == 0)
                return true;
            return false;
        }
        at++;
        if (wanted && *ret_found)
            return false;
        if (!read_value(&at, wanted ? text : other, wanted ? bytes : sizeof other))
            return false;
        *ret_found |= wanted;
        at = skip_spaces(at);
    }
    return *at == '\0';
}

/* ---- beginning ---- */

static bool is_boundary(const char *text)
{
    static const char marks[] = "'()+_,-./:=? ";
    const size_t bytes = strlen(text);

    for (size_t i = 0; i < bytes; i++) {
        char low = (char)(text[i] | 0x20);
        if (!(text[i] >= '0' && text[i] <= '9') && !(low >= 'a' && low <= 'z') && !strchr(marks, text[i]))
            return false;
    }
    return bytes > 0 && text[bytes - 1] != ' ';
}

tn_status multipart_init(multipart *form, const char *content_type, const multipart_sink *sink, tn_error *err)
{
    static const char type[] = "multipart/form-data";
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    bool found = false;

    if (!content_type || strncasecmp(content_type, type, sizeof type - 1) != 0 || strlen(content_type) > 1024)
        return tn_fail(err, TN_E_ARGUMENT, "the body must be multipart/form-data");
    if (!find_parameter(content_type, "boundary", boundary, sizeof boundary, &found) || !found ||
        !is_boundary(boundary))
        return tn_fail(
            err, TN_E_ARGUMENT,
            "Content-Type: the boundary is missing, or is not 1 to %d characters of those that RFC 2046 allows",
            MULTIPART_BOUNDARY_MAX);
    *form = (multipart){.sink = *sink, .state = MULTIPART_BEFORE};
    form->mark_bytes = (size_t)snprintf(form->mark, sizeof form->mark, "\r\n--%s", boundary);
    form->matched = 2; /* the first boundary may begin the body */
    return TN_OK;
}

/* ---- a part's head ---- */

/* Names of files are only told, never opened; what a terminal or a path would obey stays out all the same. */
static bool make_plain(char *filename)
{
    const char *last = filename;

    for (const char *at = filename; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
        if (*at == '/' || *at == '\\')
            last = at + 1;
    }
    memmove(filename, last, strlen(last) + 1);
    return true;
}

static tn_status read_disposition(const char *value, multipart_part *part, tn_error *err)
{
    bool named = false;

    if (strncasecmp(value, "form-data", 9) != 0 || !strchr("; \t", value[9]))
        return tn_fail(err, TN_E_ARGUMENT, "a part's Content-Disposition is not form-data");
    if (!find_parameter(value, "name", part->name, sizeof part->name, &named) || !named)
        return tn_fail(err, TN_E_ARGUMENT, "a part has no name, or one of more than %d bytes",
                       MULTIPART_NAME_BYTES_MAX);
    if (!find_parameter(value, "filename", part->filename, sizeof part->filename, &part->has_filename) ||
        !make_plain(part->filename) || !utf8_is_valid(part->filename, strlen(part->filename)))
        return tn_fail(err, TN_E_ARGUMENT,
                       "the filename of the part '%s' is broken, longer than %d bytes, or holds what no name may",
                       part->name, MULTIPART_FILENAME_BYTES_MAX);
    return TN_OK;
}

/* Whether the line is header NAME; *ret_value: what follows. */
static bool is_header(const char *line, const char *name, const char **ret_value)
{
    size_t bytes = strlen(name);
    if (strncasecmp(line, name, bytes) != 0 || line[bytes] != ':')
        return false;
    *ret_value = skip_spaces(line + bytes + 1);
    return true;
}

static bool is_plain_encoding(const char *value)
{
    return strcasecmp(value, "binary") == 0 || strcasecmp(value, "8bit") == 0 || strcasecmp(value, "7bit") == 0;
}

/* form->head: lines with '\r\n', terminated. */
static tn_status begin_part(multipart *form, tn_error *err)
{
    multipart_part part = {.name = ""};
    bool disposed = false;
    const char *value;
    tn_status status = TN_OK;

    if (memchr(form->head, '\0', form->head_bytes))
        return tn_fail(err, TN_E_ARGUMENT, "the head of a part holds a zero byte");
    for (char *line = form->head, *next; *line && status == TN_OK; line = next) {
        char *end = strstr(line, "\r\n");
        TN_ASSERT(end);
        *end = '\0';
        next = end + 2;
        if (is_header(line, "Content-Disposition", &value)) {
            status = disposed ? tn_fail(err, TN_E_ARGUMENT, "a part has two Content-Dispositions")
                              : read_disposition(value, &part, err);
            disposed = true;
        } else if (is_header(line, "Content-Transfer-Encoding", &value) && !is_plain_encoding(value)) {
            status =
                tn_fail(err, TN_E_ARGUMENT, "a part has the Content-Transfer-Encoding '%.40s'; send it binary", value);
        }
    }
    if (status == TN_OK && !disposed)
        status = tn_fail(err, TN_E_ARGUMENT, "a part has no Content-Disposition");
    if (status == TN_OK && ++form->parts > MULTIPART_PARTS_MAX)
        status = tn_fail(err, TN_E_ARGUMENT, "the form has more than %d parts", MULTIPART_PARTS_MAX);
    return status == TN_OK ? form->sink.begin(form->sink.ctx, &part, err) : status;
}

static bool head_ends(const multipart *form)
{
    const size_t n = form->head_bytes;
    return n >= 2 && memcmp(form->head + n - 2, "\r\n", 2) == 0 &&
           (n == 2 || (n >= 4 && memcmp(form->head + n - 4, "\r\n", 2) == 0));
}

static tn_status take_head(multipart *form, char byte, tn_error *err)
{
    if (form->head_bytes == MULTIPART_HEAD_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the head of a part has more than %d bytes", MULTIPART_HEAD_BYTES_MAX);
    form->head[form->head_bytes++] = byte;
    if (!head_ends(form))
        return TN_OK;
    form->head_bytes -= 2; /* the empty line */
    form->head[form->head_bytes] = '\0';
    form->state = MULTIPART_CONTENT;
    form->matched = 0;
    return begin_part(form, err);
}

/* ---- boundaries ---- */

/* Behind a boundary come "--", or blanks and the end of the line; head holds what has come. */
static tn_status take_mark(multipart *form, char byte, tn_error *err)
{
    const char last = form->head_bytes ? form->head[form->head_bytes - 1] : '\0';

    if (last == '\0' && is_space(byte))
        return TN_OK;
    if ((last == '\0' && (byte == '\r' || byte == '-')) || (last == '\r' && byte == '\n') ||
        (last == '-' && byte == '-')) {
        form->head[form->head_bytes++] = byte;
        if (form->head_bytes < 2)
            return TN_OK;
        form->state = byte == '-' ? MULTIPART_AFTER : MULTIPART_HEAD;
        form->head_bytes = 0;
        return TN_OK;
    }
    return tn_fail(err, TN_E_ARGUMENT, "a boundary is followed by something else than the end of its line");
}

static tn_status put(multipart *form, const char *bytes, size_t n, tn_error *err)
{
    if (n == 0 || form->state != MULTIPART_CONTENT)
        return TN_OK;
    return form->sink.content(form->sink.ctx, bytes, n, err);
}

/* Content up to a boundary, or all of it; *ret_used: how many bytes that was. */
static tn_status take_content(multipart *form, const char *bytes, size_t n, size_t *ret_used, tn_error *err)
{
    tn_status status = TN_OK;
    size_t at = 0, from = 0; /* what stands from `from` on is content, but for the bytes that match */

    while (at < n && status == TN_OK) {
        if (form->matched == 0) {
            const char *next = memchr(bytes + at, '\r', n - at);
            at = next ? (size_t)(next - bytes) : n;
            status = put(form, bytes + from, at - from, err);
            from = at;
            if (!next)
                break;
        }
        if (bytes[at] != form->mark[form->matched]) {
            status = put(form, form->mark, form->matched, err);
            form->matched = 0;
            from = at; /* the byte is looked at again */
            continue;
        }
        from = ++at;
        if (++form->matched < form->mark_bytes)
            continue;
        if (form->state == MULTIPART_CONTENT)
            status = form->sink.end(form->sink.ctx, err);
        form->state = MULTIPART_MARK;
        form->head_bytes = 0;
        break;
    }
    *ret_used = at;
    return status;
}

tn_status multipart_feed(multipart *form, const char *bytes, size_t n, tn_error *err)
{
    tn_status status = TN_OK;

    while (n > 0 && status == TN_OK && form->state != MULTIPART_AFTER) {
        size_t used = 1;
        if (form->state == MULTIPART_MARK)
            status = take_mark(form, *bytes, err);
        else if (form->state == MULTIPART_HEAD)
            status = take_head(form, *bytes, err);
        else
            status = take_content(form, bytes, n, &used, err);
        bytes += used;
        n -= used;
    }
    return status;
}

tn_status multipart_end(const multipart *form, tn_error *err)
{
    return form->state == MULTIPART_AFTER
               ? TN_OK
               : tn_fail(err, TN_E_ARGUMENT, "the body ends before the form does: the last boundary is missing");
}
