/* request_head.c: RFC 9112, 5.1 (no blank before the colon), 3.2 (one Host) and 6.3 (one length). */
#include "request_head.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct head_count {
    uint32_t hosts, lengths, codings;
    const char *spaced; /* a name with a blank, NULL: none; borrowed */
    const char *coding; /* that is not "chunked", the same */
} head_count;

static enum MHD_Result count_header(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    head_count *count = ctx;
    (void)kind;

    if (name[strcspn(name, " \t")] != '\0')
        count->spaced = name;
    count->hosts += strcasecmp(name, "Host") == 0;
    count->lengths += strcasecmp(name, "Content-Length") == 0;
    if (strcasecmp(name, "Transfer-Encoding") != 0)
        return MHD_YES;
    count->codings++;
    if (!value || strcasecmp(value, "chunked") != 0)
        count->coding = value ? value : "";
    return MHD_YES;
}

static tn_status refuse(const head_count *count, api_error *error)
{
    if (count->spaced)
        return api_fail(error, 400, "malformed_head", NULL, "the header '%.64s' has a blank in its name",
                        count->spaced);
    if (count->hosts > 1)
        return api_fail(error, 400, "malformed_head", NULL, "the request has %u Host headers: send one", count->hosts);
    if (count->lengths && count->codings)
        return api_fail(error, 400, "ambiguous_length", NULL,
                        "Content-Length and Transfer-Encoding contradict each other");
    if (count->lengths > 1 || count->codings > 1)
        return api_fail(error, 400, "ambiguous_length", NULL,
                        "the request has several Content-Length or Transfer-Encoding headers: send one");
    if (count->coding)
        return api_fail(error, 501, "unsupported_transfer_encoding", NULL,
                        "the Transfer-Encoding '%.64s' is not supported: send 'chunked' or a Content-Length",
                        count->coding);
    return TN_OK;
}

tn_status request_head_check(struct MHD_Connection *connection, api_error *error)
{
    head_count count = {0};

    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &count);
    tn_status status = refuse(&count, error);
    if (status != TN_OK)
        error->closes = true;
    return status;
}

static int digit_of(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    char letter = (char)(byte | 0x20);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

size_t request_head_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    char *to = text;
    (void)cls, (void)connection;

    for (const char *from = text; *from; from++) {
        int high = *from == '%' ? digit_of(from[1]) : -1, low = high >= 0 ? digit_of(from[2]) : -1;
        if (low >= 0 && high * 16 + low > 0) {
            *to++ = (char)(high * 16 + low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}
