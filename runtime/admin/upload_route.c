/* upload_route.c: POST /files: a form, whose file goes to the disk as it comes. */
#include "admin/route.h"

#include "jobs/multipart.h"

#include <string.h>

enum { TEXT_BYTES_MAX = 64, PIECE_BYTES = 64 << 10, EXPIRY_SECONDS_MIN = 3600, EXPIRY_SECONDS_MAX = 2592000 };

typedef enum form_field { FIELD_PURPOSE, FIELD_ANCHOR, FIELD_SECONDS, FIELDS, FIELD_FILE = FIELDS } form_field;

static const char *const field_names[] = {"purpose", "expires_after[anchor]", "expires_after[seconds]", "file"};

typedef struct form {
    job_files *store;
    form_field current;
    char text[FIELDS][TEXT_BYTES_MAX + 1];
    size_t text_bytes[FIELDS];
    bool seen[FIELDS + 1];
    bool writing; /* upload is open */
    file_upload upload;
    char filename[MULTIPART_FILENAME_BYTES_MAX + 1];
    const char *param; /* the field that is wrong */
    bool too_large;
} form;

static tn_status begin_part(void *ctx, const multipart_part *part, tn_error *err)
{
    form *f = ctx;
    size_t i = 0;

    while (i <= FIELDS && strcmp(part->name, field_names[i]) != 0)
        i++;
    f->param = i <= FIELDS ? field_names[i] : NULL;
    if (i > FIELDS)
        return tn_fail(err, TN_E_ARGUMENT, "there is no field '%s'; there are file, purpose and expires_after",
                       part->name);
    if (f->seen[i])
        return tn_fail(err, TN_E_ARGUMENT, "the field '%s' comes twice", part->name);
    f->seen[i] = true;
    f->current = (form_field)i;
    if (i < FIELDS)
        return TN_OK;
    if (!part->has_filename || !part->filename[0])
        return tn_fail(err, TN_E_ARGUMENT, "the part 'file' has no filename");
    memcpy(f->filename, part->filename, sizeof f->filename);
    tn_status status = file_upload_begin(f->store, &f->upload, err);
    f->writing = status == TN_OK;
    f->too_large = status == TN_E_MEMORY;
    return status;
}

static tn_status take_content(void *ctx, const char *bytes, size_t n, tn_error *err)
{
    form *f = ctx;

    if (f->current == FIELD_FILE) {
        tn_status status = file_upload_write(&f->upload, bytes, n, err);
        f->too_large = status == TN_E_MEMORY;
        return status;
    }
    size_t *count = &f->text_bytes[f->current];
    if (n > TEXT_BYTES_MAX - *count || memchr(bytes, '\0', n))
        return tn_fail(err, TN_E_ARGUMENT, "the field '%s' is longer than %d bytes, or holds a zero byte",
                       field_names[f->current], TEXT_BYTES_MAX);
    memcpy(f->text[f->current] + *count, bytes, n);
    *count += n;
    return TN_OK;
}

static tn_status end_part(void *ctx, tn_error *err)
{
    (void)ctx;
    (void)err;
    return TN_OK;
}

static tn_status fail_size(form *f, uint64_t bytes_max, tn_error *err)
{
    f->too_large = true;
    return tn_fail(err, TN_E_MEMORY, "the body is larger than %llu bytes, which [batch] max_file_bytes allows",
                   (unsigned long long)bytes_max);
}

static tn_status read_form(const tn_admin_call *call, form *f, tn_error *err)
{
    const multipart_sink sink = {f, begin_part, take_content, end_part};
    multipart *parser = malloc(sizeof *parser);
    char *piece = malloc(PIECE_BYTES);
    const uint64_t bytes_max = job_files_limits(f->store)->file_bytes + UPLOAD_FORM_BYTES_MAX;
    uint64_t n = 1, bytes = 0;
    tn_status status = parser && piece ? multipart_init(parser, call->content_type, &sink, err)
                                       : tn_fail(err, TN_E_MEMORY, "out of memory for a form");

    while (status == TN_OK && n > 0) {
        status = call->read(call->read_ctx, piece, PIECE_BYTES, &n);
        if (status != TN_OK)
            status = tn_fail(err, status, "the form has not come to its end");
        else if ((bytes += n) > bytes_max) /* of no told length: what stands around the form has no end of its own */
            status = fail_size(f, bytes_max, err);
        else if (n > 0)
            status = multipart_feed(parser, piece, n, err);
    }
    if (status == TN_OK)
        status = multipart_end(parser, err);
    free(parser);
    free(piece);
    return status;
}

/* False: *ret_answer says what is wrong. */
static bool check_fields(const form *f, int64_t *ret_expiry_s, answer *ret_answer)
{
    const char *seconds = f->text[FIELD_SECONDS];
    char *end = NULL;
    bool good = false;

    *ret_expiry_s = 0;
    if (!f->seen[FIELD_FILE])
        *ret_answer = answer_error(400, "file", "the field 'file' is missing");
    else if (strcmp(f->text[FIELD_PURPOSE], "batch") != 0)
        *ret_answer = answer_error(400, "purpose", "'purpose' must be \"batch\": files serve nothing else here");
    else if (f->seen[FIELD_ANCHOR] != f->seen[FIELD_SECONDS] ||
             (f->seen[FIELD_ANCHOR] && strcmp(f->text[FIELD_ANCHOR], "created_at") != 0))
        *ret_answer =
            answer_error(400, "expires_after", "'expires_after' needs an anchor of \"created_at\", and seconds");
    else
        good = true;
    if (!good || !f->seen[FIELD_SECONDS])
        return good;
    long long number = strtoll(seconds, &end, 10);
    if (*seconds >= '0' && *seconds <= '9' && !*end && number >= EXPIRY_SECONDS_MIN && number <= EXPIRY_SECONDS_MAX) {
        *ret_expiry_s = number;
        return true;
    }
    *ret_answer = answer_error(400, "expires_after", "'expires_after[seconds]' must be %d to %d", EXPIRY_SECONDS_MIN,
                               EXPIRY_SECONDS_MAX);
    return false;
}

answer admin_upload(request *request)
{
    form f = {.store = jobs_files(request->admin->jobs)};
    json_t *file = NULL;
    int64_t expiry_s;
    answer answer;
    tn_error err = TN_ERROR_INIT;

    if (!TN_HAS(request->call, tn_admin_call, read_ctx) || !request->call->read)
        return answer_error(400, NULL, "the body must be multipart/form-data");
    jobs_sweep(request->admin->jobs);
    tn_status status = read_form(request->call, &f, &err);
    if (status == TN_OK && check_fields(&f, &expiry_s, &answer)) {
        const file_label label = {f.filename, "batch", request->caller, expiry_s};
        f.writing = false;
        status = file_upload_end(&f.upload, &label, &file, &err);
        json_object_del(file, "owner");
        answer = status == TN_OK ? answer_json(200, file) : answer_failure(status, "file", &err);
    } else if (status != TN_OK) {
        answer = f.too_large ? answer_error(413, "file", "%s", err.msg)
                             : answer_failure(status, status == TN_E_ARGUMENT ? f.param : NULL, &err);
    }
    if (f.writing)
        file_upload_abandon(&f.upload);
    return answer;
}
