/* files_route.c: what there is of OpenAI's files. A file of another's is no file. */
#include "admin/list.h"
#include "admin/route.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { LIST_MAX = 10000, PIECE_BYTES = 64 << 10 };

/* The file of the path, owned; NULL: *ret_answer says why not. */
static json_t *find(const request *request, answer *ret_answer)
{
    json_t *file = job_files_find(jobs_files(request->admin->jobs), request->part[0]);

    if (file && request_sees(request, file)) {
        json_object_del(file, "owner");
        return file;
    }
    json_decref(file);
    *ret_answer = answer_error(404, "id", "there is no file '%.64s'", request->part[0]);
    return NULL;
}

/* ---- the list ---- */

typedef struct list_query {
    const char *purpose, *after;
    bool ascending;
    size_t limit;
} list_query;

static bool read_query(const request *request, list_query *q, answer *ret_answer)
{
    const char *order = query_value(&request->query, "order");
    size_t limit = LIST_MAX;

    if (!list_limit(request, LIST_MAX, &limit, ret_answer))
        return false;
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) {
        *ret_answer = answer_error(400, "order", "'order' must be asc or desc");
        return false;
    }
    *q = (list_query){query_value(&request->query, "purpose"), query_value(&request->query, "after"),
                      order && strcmp(order, "asc") == 0, limit};
    return true;
}

static bool is_wanted(const request *request, const list_query *q, const json_t *file)
{
    const char *purpose = json_string_value(json_object_get(file, "purpose"));
    return request_sees(request, file) && (!q->purpose || strcmp(q->purpose, purpose) == 0);
}

answer admin_list_files(request *request)
{
    json_t *all = job_files_list(jobs_files(request->admin->jobs)), *data = json_array();
    const size_t count = json_array_size(all);
    list_query q;
    answer answer;
    bool more = false;

    if (!read_query(request, &q, &answer)) {
        json_decref(all);
        json_decref(data);
        return answer;
    }
    bool passed = !q.after;
    for (size_t i = 0; i < count && !more; i++) {
        json_t *file = json_array_get(all, q.ascending ? i : count - 1 - i);
        if (!passed) {
            passed =
                request_sees(request, file) && strcmp(json_string_value(json_object_get(file, "id")), q.after) == 0;
        } else if (is_wanted(request, &q, file)) {
            more = json_array_size(data) == q.limit;
            json_object_del(file, "owner");
            if (!more)
                json_array_append(data, file);
        }
    }
    json_decref(all);
    if (!passed) {
        json_decref(data);
        return answer_error(400, "after", "'after' names no file");
    }
    return list_answer(data, more);
}

/* ---- one ---- */

answer admin_show_file(request *request)
{
    answer answer;
    json_t *file = find(request, &answer);
    return file ? answer_json(200, file) : answer;
}

answer admin_remove_file(request *request)
{
    answer answer;
    json_t *file = find(request, &answer);
    tn_error err = TN_ERROR_INIT;

    if (!file)
        return answer;
    json_decref(file);
    if (jobs_use_file(request->admin->jobs, request->part[0]))
        return answer_error(409, "id", "a batch that has not ended reads the file '%.64s'; cancel it first",
                            request->part[0]);
    tn_status status = job_files_remove(jobs_files(request->admin->jobs), request->part[0], &err);
    if (status != TN_OK)
        return answer_failure(status, "id", &err);
    return answer_json(200, json_pack("{s:s, s:s, s:b}", "id", request->part[0], "object", "file", "deleted", 1));
}

/* Until its end, or until the reader has left. An answer that breaks off cannot be told otherwise. */
static void send_content(const tn_admin_sink *sink, int fd, char *piece)
{
    ssize_t n = 1;

    if (sink->head(sink->ctx, 200, "application/octet-stream") != TN_OK)
        return;
    while (n > 0) {
        n = read(fd, piece, PIECE_BYTES);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0 && sink->write(sink->ctx, piece, (uint64_t)n) != TN_OK)
            return;
    }
}

answer admin_send_file(request *request)
{
    char path[PATH_MAX];
    answer answer;
    json_t *file = find(request, &answer);

    if (!file)
        return answer;
    json_decref(file);
    job_files_path(jobs_files(request->admin->jobs), request->part[0], path);
    char *piece = malloc(PIECE_BYTES);
    int fd = piece ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd >= 0) {
        send_content(request->sink, fd, piece);
        close(fd);
        answer = (struct answer){0};
    } else {
        answer =
            answer_error(500, NULL, "the content of '%.64s' cannot be read: %s", request->part[0], strerror(errno));
    }
    free(piece);
    return answer;
}
