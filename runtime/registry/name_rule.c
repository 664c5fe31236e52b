/* runtime/registry/name_rule.c: see name_rule.h. */
#include "registry/name_rule.h"

#include "base/utf8.h"
#include "registry/digest.h"

#include <string.h>
#include <strings.h>

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_name(const char *name, size_t bytes)
{
    if (bytes == 0 || bytes > NAME_BYTES_MAX || !is_letter_or_digit(name[0]))
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (!is_letter_or_digit(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

tn_status name_check(const char *what, const char *name, tn_error *err)
{
    if (is_name(name, strlen(name)))
        return TN_OK;
    return tn_fail(err, TN_E_ARGUMENT,
                   "%s '%.100s' is not one: up to %d letters, digits, '.', '_' and '-', the first a letter or digit",
                   what, name, NAME_BYTES_MAX);
}

/* ---- files ---- */

static bool ends_with(const char *name, const char *ending)
{
    size_t bytes = strlen(name), tail = strlen(ending);
    return bytes >= tail && strcasecmp(name + bytes - tail, ending) == 0;
}

bool is_pickle_name(const char *name)
{
    static const char *const endings[] = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(name, endings[i]))
            return true;
    return false;
}

bool is_hidden_name(const char *name)
{
    for (const char *part = name; *part; part += strspn(part, "/")) {
        size_t bytes = strcspn(part, "/");
        if (part[0] == '.' && bytes != 1 && !(bytes == 2 && part[1] == '.'))
            return true;
        part += bytes;
    }
    return false;
}

/* Both ranges of them: U+0080 to U+009F are C2 80 to C2 9F in UTF-8. */
bool is_control_character(const char *at)
{
    const unsigned char *byte = (const unsigned char *)at;
    return byte[0] < 0x20 || byte[0] == 0x7f || (byte[0] == 0xc2 && byte[1] < 0xa0);
}

static bool has_control_characters(const char *name)
{
    for (const char *at = name; *at; at++)
        if (is_control_character(at))
            return true;
    return false;
}

/* Why the parts of a relative path will not do; NULL: they will. */
static const char *fault_of_parts(const char *name)
{
    uint32_t depth = 0;

    for (const char *part = name;; part++) {
        size_t bytes = strcspn(part, "/");
        if (bytes == 0)
            return part == name ? "it is absolute or empty" : "it has an empty part";
        if ((bytes == 1 && part[0] == '.') || (bytes == 2 && memcmp(part, "..", 2) == 0))
            return "'.' and '..' lead out of the model's directory";
        if (bytes > 255)
            return "a part of it is longer than 255 bytes";
        if (++depth > FILE_DEPTH_MAX + 1)
            return "it lies too deep";
        part += bytes;
        if (!*part)
            return NULL;
    }
}

tn_status file_name_check(const char *where, const char *name, tn_error *err)
{
    size_t bytes = strlen(name);

    if (has_control_characters(name) || !utf8_is_valid(name, bytes))
        return tn_fail(err, TN_E_CORRUPT, "%.200s: a file name contains control characters or invalid UTF-8", where);
    const char *fault = bytes > FILE_NAME_BYTES_MAX ? "it is longer than 1024 bytes" : fault_of_parts(name);
    if (!fault && strchr(name, '\\'))
        fault = "it contains a backslash";
    if (fault)
        return tn_fail(err, TN_E_CORRUPT, "%.200s: the file name '%.100s' is refused: %s", where, name, fault);
    if (is_pickle_name(name))
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "%.200s: '%.100s' is a pickle file, which can run code when it is loaded; leave it out with --exclude "
            "'PATTERN', and have the weights as safetensors or GGUF",
            where, name);
    return TN_OK;
}

/* ---- references ---- */

/* Copies a name; false: it is none. */
static bool take(const char *from, size_t bytes, char to[NAME_BYTES_MAX + 1])
{
    if (!is_name(from, bytes))
        return false;
    memcpy(to, from, bytes);
    to[bytes] = '\0';
    return true;
}

tn_status model_reference_parse(const char *text, model_reference *ret_reference, tn_error *err)
{
    static const char mark[] = "@sha256:";
    model_reference found = {0};
    size_t bytes = strcspn(text, "@:");
    const char *rest = text + bytes;
    bool good = take(text, bytes, found.model);

    if (good && strncmp(rest, mark, strlen(mark)) == 0) {
        good = is_hex(rest + strlen(mark), DIGEST_HEX);
        if (good)
            memcpy(found.digest, rest + strlen(mark), DIGEST_HEX + 1);
    } else if (good && *rest) {
        good = take(rest + 1, strlen(rest + 1), *rest == '@' ? found.version : found.alias);
    }
    if (!good)
        return tn_fail(err, TN_E_ARGUMENT,
                       "'%.200s' names no model; it takes NAME, NAME@VERSION, NAME@sha256:DIGEST or NAME:ALIAS", text);
    *ret_reference = found;
    return TN_OK;
}
