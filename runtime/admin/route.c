/* route.c: the resources, in one table. */
#include "admin/route.h"

#include <string.h>

static const route routes[] = {
    {"GET", "/models", admin_list_models, false, {NULL}},
    {"POST", "/models", admin_add_model, true, {"wait", NULL}},
    {"GET", "/models/*", admin_show_model, false, {NULL}},
    {"PUT", "/models/*/default", admin_set_default, true, {NULL}},
    {"PUT", "/models/*/aliases/*", admin_set_alias, true, {NULL}},
    {"DELETE", "/models/*/aliases/*", admin_unset_alias, false, {NULL}},
    {"GET", "/models/*/versions/*", admin_show_version, false, {NULL}},
    {"DELETE", "/models/*/versions/*", admin_remove_version, false, {NULL}},
    {"POST", "/models/*/versions/*/verify", admin_verify_version, true, {NULL}},
    {"GET", "/operations", admin_list_operations, false, {NULL}},
    {"GET", "/operations/*", admin_show_operation, false, {"wait", NULL}},
    {"POST", "/plan", admin_plan, true, {NULL}},
    {"GET", "/pools", admin_list_pools, false, {NULL}},
    {"GET", "/services", admin_list_services, false, {NULL}},
    {"POST", "/services", admin_add_service, true, {"wait", NULL}},
    {"POST", "/services/*:suspend", admin_suspend_service, true, {"wait", "drain", NULL}},
    {"POST", "/services/*:resume", admin_resume_service, true, {"wait", NULL}},
    {"POST", "/services/*:scale", admin_scale_service, true, {"wait", NULL}},
    {"GET", "/services/*", admin_show_service, false, {"wait", "state", NULL}},
    {"PATCH", "/services/*", admin_change_service, true, {"wait", NULL}},
    {"DELETE", "/services/*", admin_remove_service, false, {"wait", "drain", NULL}},
    {"GET", "/jobs", admin_list_jobs, false, {NULL}},
    {"POST", "/jobs", admin_add_job, true, {NULL}},
    {"POST", "/jobs/*:cancel", admin_cancel_job, true, {NULL}},
    {"GET", "/jobs/*", admin_show_job, false, {NULL}},
    {"DELETE", "/jobs/*", admin_remove_job, false, {NULL}},
    {"GET", "/services/*/logs", admin_show_logs, false, {"follow", "instance", "since", NULL}},
};
enum { ROUTES = sizeof routes / sizeof *routes };

static const route batch_routes[] = {
    {"GET", "/files", admin_list_files, false, {"purpose", "limit", "after", "order", NULL}},
    {"POST", "/files", admin_upload, false, {NULL}},
    {"GET", "/files/*", admin_show_file, false, {NULL}},
    {"DELETE", "/files/*", admin_remove_file, false, {NULL}},
    {"GET", "/files/*/content", admin_send_file, false, {NULL}},
    {"GET", "/batches", admin_list_batches, false, {"limit", "after", NULL}},
    {"POST", "/batches", admin_add_batch, true, {NULL}},
    {"GET", "/batches/*", admin_show_batch, false, {NULL}},
    {"POST", "/batches/*/cancel", admin_cancel_batch, true, {NULL}},
};
enum { BATCH_ROUTES = sizeof batch_routes / sizeof *batch_routes };

/* The text that the pattern's next '*' stands for; 0: none. What follows it up to the next '/' must end the segment. */
static size_t wild_bytes(const char *pattern, const char *path)
{
    size_t segment = strcspn(path, "/"), rest = strcspn(pattern + 1, "/");

    if (segment <= rest || memcmp(path + segment - rest, pattern + 1, rest) != 0)
        return 0;
    return segment - rest;
}

static bool matches(const char *pattern, const char *path, request *request)
{
    int part = 0;

    while (*pattern && *path) {
        if (*pattern != '*') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t bytes = wild_bytes(pattern, path);
        if (bytes == 0 || bytes > REQUEST_PART_BYTES_MAX)
            return false;
        TN_ASSERT(part < REQUEST_PARTS);
        memcpy(request->part[part], path, bytes);
        request->part[part++][bytes] = '\0';
        pattern++;
        path += bytes;
    }
    return *pattern == '\0' && (*path == '\0' || strcmp(path, "/") == 0);
}

static const route *find(const route *routes, size_t count, const char *method, const char *path, request *request,
                         answer *ret_answer)
{
    char allowed[64] = "";

    for (size_t i = 0; i < count; i++) {
        if (!matches(routes[i].pattern, path, request))
            continue;
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s", used ? ", " : "", routes[i].method);
    }
    *ret_answer = allowed[0] ? answer_error(405, NULL, "%s: this takes %s, not %.16s", path, allowed, method)
                             : answer_error(404, NULL, "there is no %.200s here", path);
    return NULL;
}

const route *route_find(const char *method, const char *path, request *request, answer *ret_answer)
{
    return find(routes, ROUTES, method, path, request, ret_answer);
}

const route *route_find_batch(const char *method, const char *path, request *request, answer *ret_answer)
{
    return find(batch_routes, BATCH_ROUTES, method, path, request, ret_answer);
}
