/* fuzz_bundle.c: the input is a bundle, walked member by member as `tenon registry import` does; and, since checksums
 * keep most changes out, it is a manifest and a bundle.json by itself too.
 */
#include "registry/bundle.h"
#include "registry/manifest.h"
#include "registry/tar.h"

#include <string.h>

/* Is `name` relative, without a part that is ".."? ("a../b" is a name like any other.) */
static bool stays_inside(const char *name)
{
    if (*name == '/')
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strcspn(part, "/") == 2 && memcmp(part, "..", 2) == 0)
            return false;
    }
    return true;
}

static void check_manifest(const char *text, size_t bytes)
{
    tn_error err = TN_ERROR_INIT;
    manifest manifest;
    uint64_t total = 0;
    tn_status status = manifest_parse("input", text, bytes, &manifest, &err);

    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    if (status != TN_OK)
        return;
    TN_ASSERT(manifest.file_count > 0 && manifest.entry);
    for (uint32_t i = 0; i < manifest.file_count; i++) {
        const manifest_file *file = &manifest.files[i];
        TN_ASSERT(file_name_check("input", file->name, NULL) == TN_OK);
        TN_ASSERT(stays_inside(file->name) && is_hex(file->digest.hex, DIGEST_HEX));
        total += file->bytes;
    }
    TN_ASSERT(total == manifest.bytes && total <= INT64_MAX);
    manifest_finish(&manifest);
}

static void check_head(const char *text, size_t bytes)
{
    static bundle_head head;
    tn_error err = TN_ERROR_INIT;
    tn_status status = bundle_head_parse("input", text, bytes, &head, &err);

    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    if (status != TN_OK)
        return;
    const registration *r = &head.registration;
    TN_ASSERT(name_check("", r->model, NULL) == TN_OK && name_check("", r->version, NULL) == TN_OK);
    for (uint32_t i = 0; i < r->tag_count; i++)
        TN_ASSERT(r->tags[i].text && name_check("", r->tags[i].key, NULL) == TN_OK);
    bundle_head_finish(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char name[TAR_NAME_BYTES_MAX + 1];
    uint64_t size;
    bool end = false;
    size_t at = 0;

    check_manifest((const char *)bytes, n);
    check_head((const char *)bytes, n);
    while (!end && n - at >= TAR_BLOCK) {
        tn_error err = TN_ERROR_INIT;
        if (tar_read_header("input", bytes + at, name, &size, &end, &err) != TN_OK) {
            TN_ASSERT(*err.msg);
            return 0;
        }
        at += TAR_BLOCK;
        if (end || size > n - at)
            return 0;
        TN_ASSERT(memchr(name, 0, sizeof name));
        (strcmp(name, BUNDLE_NAME) == 0 ? check_head : check_manifest)((const char *)bytes + at, (size_t)size);
        if (tar_padding(size) > n - at - size)
            return 0;
        at += (size_t)(size + tar_padding(size));
    }
    return 0;
}
