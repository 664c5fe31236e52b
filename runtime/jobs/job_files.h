/* runtime/jobs/job_files.h: uploaded files and results of batches, in a folder of their own.
 *
 * ID.jsonl is a file's content, ID.json what is told of it. A file is there when the second one is: it is written last
 * (each by way of a partial file, synced and renamed) and removed first, so that a kill at any moment leaves a whole
 * file or none; what is left of a half one goes when the store is opened. The list is in memory: some hundred bytes
 * a file. Any number of threads.
 */
#ifndef JOBS_JOB_FILES_H
#define JOBS_JOB_FILES_H

#include "file/whole_file.h"

#include <jansson.h>
#include <limits.h>

enum { FILES_MAX = 10000, JOB_ID_BYTES = 32 };

typedef struct job_files job_files;

typedef struct file_limits {
    uint64_t file_bytes, total_bytes; /* of one, and of all */
    int64_t expiry_s;                 /* of those that say nothing; 0: never */
} file_limits;

/* tell: sentences for a log: what was found damaged; NULL: nobody reads. */
tn_status job_files_open(const char *folder, const file_limits *limits, void (*tell)(const char *sentence),
                         job_files **ret_store, tn_error *err);
void job_files_close(job_files *store); /* NULL is fine */
const file_limits *job_files_limits(const job_files *store);

/* What is to be told of a file, beside its size. */
typedef struct file_label {
    const char *filename, *purpose, *owner; /* owner: a token's name; NULL: nobody's in particular */
    int64_t expiry_s;                       /* 0: the store's */
} file_label;

typedef struct file_upload {
    job_files *store;
    whole_file content;
    char id[JOB_ID_BYTES];
    uint64_t bytes;
} file_upload;

/* TN_E_MEMORY: the store is full, by a limit. TN_E_IO: of the disk. */
tn_status file_upload_begin(job_files *store, file_upload *ret_upload, tn_error *err);
tn_status file_upload_write(file_upload *upload, const void *bytes, uint64_t n, tn_error *err);
/* Whole and on the disk. *ret_file: owned, as job_files_find. The upload is over in any case. */
tn_status file_upload_end(file_upload *upload, const file_label *label, json_t **ret_file, tn_error *err);
void file_upload_abandon(file_upload *upload);

/* "file-" or another prefix and 24 random hexadecimal digits. */
void job_id_make(const char *prefix, char ret_id[JOB_ID_BYTES]);
/* Moves a finished file of this file system into the store, past its limits; one of that id that is there stays. */
tn_status job_files_adopt(job_files *store, const char *id, const char *path, const file_label *label, tn_error *err);
/* OpenAI's file object, with "owner" (null: nobody's); owned. NULL: there is none, or it has expired. */
json_t *job_files_find(job_files *store, const char *id);
/* All that have not expired, oldest first; owned. NULL: out of memory. */
json_t *job_files_list(job_files *store);
void job_files_path(const job_files *store, const char *id, char ret_path[PATH_MAX]); /* of its content */
/* TN_E_NOT_FOUND. */
tn_status job_files_remove(job_files *store, const char *id, tn_error *err);
/* Removes those that have expired, unless in_use says that they are. */
void job_files_sweep(job_files *store, bool (*in_use)(void *ctx, const char *id), void *ctx);

#endif
