/* lease.c: see lease.h. The digest that the service has now is in its wish, those before it in ANNOTATION_BEFORE. */
#include "target/kubernetes/lease.h"

#include <stdlib.h>
#include <string.h>

static const char *digest_of(const workload *w)
{
    const char *digest = json_string_value(json_object_get(w->wish, "digest"));
    return digest ? digest : "";
}

static tn_status release_one(const settings *settings, const char *name, const char *digest, tn_error *err)
{
    tn_error why = TN_ERROR_INIT;
    tn_status status = target_keep_model(settings, &target_kubernetes, name, digest, false, &why);
    return status == TN_OK || status == TN_E_NOT_FOUND ? TN_OK : tn_fail(err, status, "%s", why.msg);
}

/* All of a list but one. */
static tn_status release_list(const settings *settings, const char *name, const char *list, const char *kept,
                              tn_error *err)
{
    tn_status status = TN_OK;
    char digest[DIGEST_HEX + 1];

    while (status == TN_OK && *list) {
        const size_t bytes = strcspn(list, ",");
        snprintf(digest, sizeof digest, "%.*s", (int)(bytes < sizeof digest ? bytes : 0), list);
        if (strcmp(digest, kept) != 0)
            status = release_one(settings, name, digest, err);
        list += bytes + (list[bytes] == ',');
    }
    return status;
}

tn_status lease_note_before(const kubernetes_options *options, const target_service *service, const workload *old,
                            tn_error *err)
{
    const char *digest = digest_of(old);
    char *change = NULL;

    if (!*old->before && (!*digest || (service->digest && strcmp(digest, service->digest) == 0)))
        return TN_OK;
    if (asprintf(&change, ANNOTATION_BEFORE "=%s%s%s", old->before, *old->before && *digest ? "," : "", digest) < 0)
        return tn_fail(err, TN_E_MEMORY, "the versions of a service");
    tn_status status = kubectl_annotate(options, workload_kind(service->nodes), service->name, change, err);
    free(change);
    return status;
}

tn_status lease_release_before(const settings *settings, const kubernetes_options *options, const char *name,
                               const workload *w, tn_error *err)
{
    if (!*w->before)
        return TN_OK;
    tn_status status = release_list(settings, name, w->before, digest_of(w), err);
    return status == TN_OK ? kubectl_annotate(options, workload_kind(w->nodes), name, ANNOTATION_BEFORE "-", err)
                           : status;
}

tn_status lease_release(const settings *settings, const char *name, const workload *w, tn_error *err)
{
    tn_status status = release_list(settings, name, w->before, "", err);
    return status == TN_OK ? release_list(settings, name, digest_of(w), "", err) : status;
}
