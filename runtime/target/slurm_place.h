/* runtime/target/slurm_place.h: the folder of a service that is Slurm jobs, and what is written down there.
 *
 *     DIRECTORY/NAME/service.json     what was wished for; the rest is asked of Slurm
 *                    job.sbatch, service.ini, group.secret   as rendered
 *                    JOB.log          what the job says
 *                    JOB.address      http://HOST:PORT, as long as it answers there
 *                    JOB.status       how far `tenon serve` is (cli/status_file.h)
 *                    JOB.stop         it is to end, and not to come back
 *                    JOB.failures     failed starts in a row;  JOB.failed: why it has given up
 */
#ifndef TARGET_SLURM_PLACE_H
#define TARGET_SLURM_PLACE_H

#include "settings/settings.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#define SLURM_RECORD "service.json"

/* name NULL: the folder of all services. TN_E_ARGUMENT: the path cannot be one. */
tn_status slurm_place(const settings *settings, const char *name, char ret_folder[PATH_MAX], tn_error *err);
/* Whether two such paths are the same one: "/a//b/" is "/a/b". Links are not followed. */
bool slurm_place_is(const char *a, const char *b);
/* Whether what lies in a service's folder is this user's doing alone, since its script runs as this user. One that is
 * not there is fine. TN_E_NOT_FOUND: it is another user's; TN_E_ARGUMENT: others could change it. */
tn_status slurm_place_check(const char *folder, tn_error *err);
/* TN_E_NOT_FOUND: there is no such service; TN_E_CORRUPT: the file is damaged. Owned. */
tn_status slurm_record_read(const char *folder, const char *name, json_t **ret_record, tn_error *err);
tn_status slurm_record_write(const char *folder, const json_t *record, tn_error *err);

/* The beginning of FOLDER/JOB.ENDING, at most bytes - 1 of it, terminated; false: there is none, or it is no file. */
bool slurm_file_read(const char *folder, const char *job, const char *ending, char *ret_text, size_t bytes);
bool slurm_file_exists(const char *folder, const char *job, const char *ending);
/* Empty. */
tn_status slurm_file_touch(const char *folder, const char *job, const char *ending, tn_error *err);
/* All of the folder with that ending. */
void slurm_files_remove(const char *folder, const char *ending);
/* The text of any of the folder with that ending; false: there is none. */
bool slurm_files_find(const char *folder, const char *ending, char *ret_text, size_t bytes);

#endif
