/* console.c: files out of the plugin itself. The browser is told to trust nothing but them: no inline script or style,
 * no other origin, no frame around the page, and no text that becomes markup.
 */
#include "console.h"

#include "console_files.h"
#include "reply.h"

#include <string.h>

#define POLICY                                                                                                       \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " \
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

static const console_file *find_file(const char *name)
{
    const char *wanted = *name ? name : "index.html";

    for (size_t i = 0; i < console_file_count; i++)
        if (strcmp(console_files[i].name, wanted) == 0)
            return &console_files[i];
    return NULL;
}

/* If-None-Match: "*", or a list of tags, each of which a proxy may have marked as weak. */
static bool has_it(const char *tags, const char *tag)
{
    return tags && (strcmp(tags, "*") == 0 || strstr(tags, tag));
}

static enum MHD_Result fail(const tn_front *front, struct MHD_Connection *connection, const http_route *route,
                            const char *url)
{
    api_error error;

    if (!front->admin_api)
        api_fail(
            &error, 404, "no_console", NULL,
            "there is no console here: this server serves one model and has nothing to administrate; `tenon daemon` "
            "has a console");
    else
        api_fail(&error, 404, "unknown_url", NULL, "unknown path '%.128s'", url);
    return reply_error(front, connection, route, &error);
}

enum MHD_Result console_answer(const tn_front *front, struct MHD_Connection *connection, const http_route *route,
                               const char *url)
{
    const char *below = url + strlen(route->path); /* "", or "/" and a name */
    const char *tags = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");

    const console_file *file = front->admin_api ? find_file(below + (*below == '/')) : NULL;
    if (!file)
        return fail(front, connection, route, url);
    if (!*below) { /* relative, as a proxy may have put a path before ours */
        const reply_header headers[] = {{"Location", "admin/"}, {"Cache-Control", "no-cache"}, {0}};
        return reply_constant(front, connection, 308, "text/plain; charset=utf-8", "admin/\n", 7, headers);
    }
    const reply_header headers[] = {
        {"ETag", file->tag},
        {"Cache-Control", "no-cache"}, /* kept, but asked about: it changes with the plugin */
        {"Content-Security-Policy", POLICY},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {0}};
    if (has_it(tags, file->tag))
        return reply_constant(front, connection, 304, file->type, "", 0, headers);
    return reply_constant(front, connection, 200, file->type, file->bytes, file->n_bytes, headers);
}
