/* runtime/file/directory.h: directories made, synced and removed as a whole. */
#ifndef FILE_DIRECTORY_H
#define FILE_DIRECTORY_H

#include "tenon/error.h"

#include <stdbool.h>

/* Makes path and every missing parent, with the modes that umask leaves. One that exists is fine. */
tn_status directory_make(const char *path, tn_error *err);
/* The parents of a file that is about to be written. */
tn_status directory_make_parents(const char *file_path, tn_error *err);
/* Entries of path reach the disk. File systems that cannot sync a directory are taken at their word. */
tn_status directory_sync(const char *path, tn_error *err);
/* The same for path and every directory below. */
tn_status directory_sync_tree(const char *path, tn_error *err);
/* Removes path and all below; links are removed, not followed. What is not there is no error. */
tn_status directory_remove(const char *path, tn_error *err);

#endif
