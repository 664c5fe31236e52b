/* runtime/admin/route.h: which method and path is answered by what. */
#ifndef ADMIN_ROUTE_H
#define ADMIN_ROUTE_H

#include "admin/request.h"

enum { ROUTE_PARAMETERS_MAX = 4 };

typedef struct route {
    const char *method, *pattern;                     /* a '*' stands for text without '/' */
    answer (*handle)(request *request);               /* [any] */
    bool body;                                        /* one may come */
    const char *parameters[ROUTE_PARAMETERS_MAX + 1]; /* of the query, NULL-terminated */
} route;

/* NULL: there is none, and *ret_answer says whether the path or the method is wrong. Fills request->part. [any] */
const route *route_find(const char *method, const char *path, request *request, answer *ret_answer);
/* The same of OpenAI's files and batches. [any] */
const route *route_find_batch(const char *method, const char *path, request *request, answer *ret_answer);

/* models_route.c */
answer admin_list_models(request *request);
answer admin_add_model(request *request);
answer admin_show_model(request *request);
answer admin_set_default(request *request);
answer admin_set_alias(request *request);
answer admin_unset_alias(request *request);
answer admin_show_version(request *request);
answer admin_remove_version(request *request);
answer admin_verify_version(request *request);
/* plan_route.c */
answer admin_plan(request *request);
/* services_route.c */
answer admin_list_pools(request *request);
answer admin_list_services(request *request);
answer admin_add_service(request *request);
answer admin_show_service(request *request);
answer admin_change_service(request *request);
answer admin_remove_service(request *request);
answer admin_suspend_service(request *request);
answer admin_resume_service(request *request);
answer admin_scale_service(request *request);
/* jobs_route.c */
answer admin_list_jobs(request *request);
answer admin_add_job(request *request);
answer admin_show_job(request *request);
answer admin_cancel_job(request *request);
answer admin_remove_job(request *request);
/* upload_route.c */
enum { UPLOAD_FORM_BYTES_MAX = 64 << 10 /* of a form itself, on top of its file */ };
answer admin_upload(request *request);
/* files_route.c */
answer admin_list_files(request *request);
answer admin_show_file(request *request);
answer admin_send_file(request *request);
answer admin_remove_file(request *request);
/* batches_route.c */
answer admin_list_batches(request *request);
answer admin_add_batch(request *request);
answer admin_show_batch(request *request);
answer admin_cancel_batch(request *request);
/* operations_route.c */
answer admin_list_operations(request *request);
answer admin_show_operation(request *request);
/* logs_route.c */
answer admin_show_logs(request *request);

#endif
