/* render.c: a service as one file of YAML documents, complete for `kubectl apply -f`. */
#include "target/kubernetes/kubernetes.h"

#include "target/kubernetes/yaml_writer.h"

tn_status kubernetes_render(const settings *settings, const target_service *service, target_files *ret_files,
                            tn_error *err)
{
    kubernetes_options options;
    kubernetes_manifest m = {0};
    target_files files = {0};
    char *text = NULL;

    tn_status status = kubernetes_options_read(settings, &options, err);
    if (status == TN_OK)
        status = kubernetes_manifest_init(&m, &target_kubernetes, &options, service, err);
    json_t *objects = status == TN_OK ? kubernetes_objects(&m) : NULL;
    if (status == TN_OK)
        status = yaml_write_documents(objects, &text, err);
    if (status == TN_OK)
        status = target_files_add(&files, KUBERNETES_FILE, text, false, err);
    json_decref(objects);
    kubernetes_manifest_finish(&m);
    if (status == TN_OK)
        *ret_files = files;
    return status;
}
