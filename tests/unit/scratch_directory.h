/* tests/unit/scratch_directory.h: a directory of plain files that lives as long as a test. */
#ifndef TESTS_SCRATCH_DIRECTORY_H
#define TESTS_SCRATCH_DIRECTORY_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct scratch_directory {
    char path[64];
} scratch_directory;

static inline scratch_directory scratch_create(void)
{
    scratch_directory directory = {"/tmp/tenon-test-XXXXXX"};
    if (!mkdtemp(directory.path))
        abort();
    return directory;
}

static inline void scratch_write(const scratch_directory *directory, const char *name, const void *bytes, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory->path, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0)
        abort();
}

static inline void scratch_destroy(const scratch_directory *directory)
{
    DIR *entries = opendir(directory->path);
    for (struct dirent *entry = entries ? readdir(entries) : NULL; entry; entry = readdir(entries)) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory->path, entry->d_name);
        unlink(path);
    }
    if (entries)
        closedir(entries);
    rmdir(directory->path);
}

#endif
