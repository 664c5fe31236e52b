/* kubectl.c: see kubectl.h. What a cluster says is outside input: JSON of a bounded size. */
#include "target/kubernetes/kubectl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

tn_status kubectl_run(const kubernetes_options *options, const char *const *words, char **ret_out, tn_error *err)
{
    const char *all[KUBECTL_WORDS_MAX + 6] = {"kubectl"};
    uint32_t count = 1;
    tn_error why = TN_ERROR_INIT;

    if (options->context) {
        all[count++] = "--context";
        all[count++] = options->context;
    }
    if (options->space) {
        all[count++] = "--namespace";
        all[count++] = options->space;
    }
    for (; *words; words++) {
        TN_ASSERT(count < KUBECTL_WORDS_MAX + 5);
        all[count++] = *words;
    }
    tn_status status = target_run(all, "the package kubernetes-client", ret_out, &why);
    if (status == TN_E_NOT_FOUND) /* which is said of services alone */
        return tn_fail(err, TN_E_IO, "%.300s; --dry-run and --output do without it", why.msg);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "%s", why.msg);
}

tn_status kubectl_annotate(const kubernetes_options *options, const char *kind, const char *name, const char *change,
                           tn_error *err)
{
    const char *const words[] = {"annotate", kind, name, "--overwrite", change, NULL};
    return kubectl_run(options, words, NULL, err);
}

tn_status kubectl_delete(const kubernetes_options *options, const char *kinds, const char *name, tn_error *err)
{
    char selector[KUBECTL_SELECTOR_BYTES];
    kubectl_selector(name, selector);
    const char *const words[] = {
        "delete", kinds, "--selector", selector, "--ignore-not-found", "--wait=false", "--cascade=foreground", NULL};
    return *kinds ? kubectl_run(options, words, NULL, err) : TN_OK;
}

static tn_status ask_json(const kubernetes_options *options, const char *const *words, json_t **ret_json, tn_error *err)
{
    const char *all[KUBECTL_WORDS_MAX + 1];
    uint32_t count = 0;
    char *text = NULL;
    json_error_t why;

    for (; *words; words++) {
        TN_ASSERT(count < KUBECTL_WORDS_MAX - 2);
        all[count++] = *words;
    }
    all[count++] = "--output";
    all[count++] = "json";
    all[count] = NULL;
    tn_status status = kubectl_run(options, all, &text, err);
    if (status != TN_OK)
        return status;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!json_is_object(json)) {
        json_decref(json);
        return tn_fail(err, TN_E_CORRUPT, "kubectl: what it says is no JSON object: %.200s", why.text);
    }
    *ret_json = json;
    return TN_OK;
}

/* Everything in there is ours, whoever changed it last: kubectl's other commands do, as managers of their own. */
static tn_status apply_folder(const kubernetes_options *options, const char *folder, tn_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" KUBERNETES_FILE, folder);
    const char *const client[] = {"apply", "--filename", path, NULL};
    const char *const server[] = {
        "apply", "--server-side", "--force-conflicts", "--field-manager", "tenon", "--filename", path, NULL};
    return kubectl_run(options, options->server_side ? server : client, NULL, err);
}

tn_status kubectl_apply(const kubernetes_options *options, const target_files *files, tn_error *err)
{
    const char *temporary = getenv("TMPDIR");
    char folder[PATH_MAX - 64], path[PATH_MAX];

    int bytes =
        snprintf(folder, sizeof folder, "%s/tenon-kubernetes-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (bytes >= (int)sizeof folder)
        return tn_fail(err, TN_E_ARGUMENT, "the variable TMPDIR is longer than a path");
    if (!mkdtemp(folder))
        return tn_fail(err, TN_E_IO, "%.300s: %s", folder, strerror(errno));
    tn_status status = target_files_write(files, folder, err);
    if (status == TN_OK)
        status = apply_folder(options, folder, err);
    for (uint32_t i = 0; i < files->count; i++) {
        snprintf(path, sizeof path, "%s/%.32s", folder, files->at[i].name);
        unlink(path);
    }
    rmdir(folder);
    return status;
}

void kubectl_selector(const char *name, char ret_selector[KUBECTL_SELECTOR_BYTES])
{
    int bytes = snprintf(ret_selector, KUBECTL_SELECTOR_BYTES,
                         LABEL_MANAGED "=tenon"
                                       "%s%s",
                         name ? "," LABEL_INSTANCE "=" : "", name ? name : "");
    TN_ASSERT(bytes > 0 && bytes < KUBECTL_SELECTOR_BYTES);
}

tn_status kubectl_items(const kubernetes_options *options, const char *const *words, json_t **ret_items, tn_error *err)
{
    json_t *json = NULL;
    tn_status status = ask_json(options, words, &json, err);
    if (status != TN_OK)
        return status;
    json_t *items = json_object_get(json, "items");
    if (json_is_array(items))
        *ret_items = json_incref(items);
    else
        status = tn_fail(err, TN_E_CORRUPT, "kubectl: its list has no items");
    json_decref(json);
    return status;
}

tn_status kubectl_workloads(const kubernetes_options *options, const char *name, json_t **ret_items, tn_error *err)
{
    char selector[KUBECTL_SELECTOR_BYTES];
    kubectl_selector(name, selector);
    const char *const words[] = {"get", "deployments,statefulsets,pods", "--selector", selector, NULL};
    return kubectl_items(options, words, ret_items, err);
}
