/* status.c: what a service is, from what the cluster says of its workload and pods.
 *
 * Kubernetes gives nothing up: it is called FAILED here when it does not answer and would not without somebody's help,
 * an image that is not to be had, a Secret that is not there, five ends in a row; it may still become READY.
 */
#include "base/utf8.h"
#include "target/kubernetes/lease.h"
#include "target/kubernetes/remove.h"

#include <string.h>
#include <time.h>

enum { RESTARTS_MAX = 5, MESSAGE_BYTES = 400 };

/* ---- members of what kubectl says ---- */

static const json_t *member(const json_t *object, const char *first, const char *second)
{
    return json_object_get(json_object_get(object, first), second);
}

static const char *text_of(const json_t *value)
{
    return json_is_string(value) ? json_string_value(value) : "";
}

static uint32_t count_of(const json_t *value, uint32_t absent)
{
    const json_int_t count = json_integer_value(value);
    return !json_is_integer(value) ? absent : count < 0 ? 0 : count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

static const char *label_of(const json_t *item, const char *key)
{
    return text_of(json_object_get(member(item, "metadata", "labels"), key));
}

static bool is_ending(const json_t *item)
{
    return json_is_string(member(item, "metadata", "deletionTimestamp"));
}

static bool is_kind(const json_t *item, const char *kind)
{
    return strcmp(text_of(json_object_get(item, "kind")), kind) == 0;
}

/* The condition of that type, if its status is as said; NULL: it is not. */
static const json_t *condition(const json_t *item, const char *type, const char *status)
{
    size_t i;
    json_t *one;
    json_array_foreach(member(item, "status", "conditions"), i, one)
    {
        if (strcmp(text_of(json_object_get(one, "type")), type) == 0 &&
            strcmp(text_of(json_object_get(one, "status")), status) == 0)
            return one;
    }
    return NULL;
}

/* "2026-01-02T03:04:05Z" as ms since 1970; 0: it is none. */
static int64_t time_of(const json_t *value)
{
    struct tm when = {0};
    const char *text = text_of(value), *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &when);
    return end && strcmp(end, "Z") == 0 ? (int64_t)timegm(&when) * 1000 : 0;
}

/* ---- pods ---- */

typedef struct pod_state {
    bool ready, ending, hopeless;
    bool over; /* it was evicted, or its node shut down: another takes its place, and this one lies about */
    uint32_t restarts;
    const json_t *exit_code; /* of its last end; NULL: it has not ended */
    char message[MESSAGE_BYTES];
} pod_state;

/* Reasons to wait that do not go away by themselves. */
static bool is_hopeless(const char *reason, uint32_t restarts)
{
    static const char *const reasons[] = {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
                                          "CreateContainerConfigError", "CreateContainerError"};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return strcmp(reason, "CrashLoopBackOff") == 0 && restarts >= RESTARTS_MAX;
}

/* What was cut within a character ends before it. */
static void take_message(pod_state *state, const char *reason, const json_t *message)
{
    snprintf(state->message, sizeof state->message, "%.60s: %.300s", reason, text_of(message));
    state->message[utf8_whole_prefix(state->message, strlen(state->message))] = '\0';
}

static pod_state read_pod(const json_t *pod)
{
    const json_t *container = json_array_get(member(pod, "status", "containerStatuses"), 0),
                 *waiting = member(container, "state", "waiting"), *stuck = condition(pod, "PodScheduled", "False");
    const char *reason = text_of(json_object_get(waiting, "reason")), *phase = text_of(member(pod, "status", "phase"));
    pod_state state = {
        .ready = condition(pod, "Ready", "True") != NULL,
        .ending = is_ending(pod),
        .over = strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0,
        .restarts = count_of(json_object_get(container, "restartCount"), 0),
        .exit_code = json_object_get(member(container, "lastState", "terminated"), "exitCode"),
    };
    state.hopeless = is_hopeless(reason, state.restarts);
    if (state.over)
        take_message(&state, text_of(member(pod, "status", "reason")), member(pod, "status", "message"));
    else if (*reason)
        take_message(&state, reason, json_object_get(waiting, "message"));
    else if (stuck)
        take_message(&state, "it has no node", json_object_get(stuck, "message"));
    return state;
}

static json_t *instance_json(const json_t *pod, const pod_state *state)
{
    const char *address = text_of(member(pod, "status", "podIP")), *node = text_of(member(pod, "spec", "nodeName"));
    const bool serves = strcmp(label_of(pod, LABEL_ROLE), "serve") == 0;
    const char *colon = strchr(address, ':');
    json_t *url = *address && serves
                      ? json_sprintf("http://%s%s%s:%d", colon ? "[" : "", address, colon ? "]" : "", HTTP_PORT)
                      : json_null();
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:s, s:o, s:s?, s:n}", "id", text_of(member(pod, "metadata", "name")), "state",
        state->ending                    ? "DRAINING"
        : state->over || state->hopeless ? "FAILED"
        : state->ready                   ? "READY"
                                         : "STARTING",
        "started", (json_int_t)time_of(member(pod, "status", "startTime")), "restart_count",
        (json_int_t)state->restarts, "message", state->message, "address", url, "node", *node ? node : NULL, "log");
}

/* ---- a service ---- */

typedef struct service_view {
    const json_t *item; /* its workload */
    workload workload;
    uint32_t pods, ready, placed; /* all; those that are ready; those that have a node */
    bool hopeless;
    const json_t *exit_code;
    uint32_t restarts;
    char message[MESSAGE_BYTES]; /* of the first pod that has one */
    json_t *instances;           /* owned */
} service_view;

static void add_pod(service_view *view, const json_t *pod)
{
    const pod_state state = read_pod(pod);
    json_array_append_new(view->instances, instance_json(pod, &state));
    if (state.over)
        return;
    view->pods++;
    view->ready += state.ready && !state.ending;
    view->placed += *text_of(member(pod, "spec", "nodeName")) != '\0';
    view->hopeless |= state.hopeless;
    view->restarts += state.restarts;
    if (!view->exit_code)
        view->exit_code = state.exit_code;
    if (!*view->message)
        memcpy(view->message, state.message, sizeof view->message);
}

/* Pods that are to be ready. */
static uint32_t wanted_pods(const service_view *view)
{
    return view->workload.nodes > 1 ? view->workload.nodes : count_of(member(view->item, "spec", "replicas"), 1);
}

/* Pods of another make than what is wished for. */
static bool is_updating(const service_view *view)
{
    const json_t *status = json_object_get(view->item, "status");
    const uint32_t replicas = count_of(json_object_get(status, "replicas"), 0);
    return count_of(json_object_get(status, "observedGeneration"), 0) <
               count_of(member(view->item, "metadata", "generation"), 0) ||
           count_of(json_object_get(status, "updatedReplicas"), 0) < replicas;
}

static service_state judge(const service_view *view)
{
    const uint32_t wanted = wanted_pods(view);
    const json_t *late = condition(view->item, "Progressing", "False");

    if (view->workload.deleting || view->workload.ending)
        return SERVICE_DELETING;
    if (view->workload.suspended || wanted == 0)
        return view->pods ? SERVICE_SUSPENDING : SERVICE_SUSPENDED;
    if (view->ready >= wanted && !is_updating(view))
        return SERVICE_READY;
    if (view->hopeless || late)
        return view->ready && view->workload.nodes == 1 ? SERVICE_DEGRADED : SERVICE_FAILED;
    if (view->ready && view->workload.nodes == 1 && !is_updating(view))
        return SERVICE_DEGRADED;
    return view->placed ? SERVICE_LOADING : SERVICE_PENDING;
}

/* Moves the instances and the wish in. */
static json_t *service_json(service_view *view)
{
    const service_state state = judge(view);
    json_t *json = json_incref(view->workload.wish);
    const json_t *late = condition(view->item, "Progressing", "False");
    const char *message = *view->message ? view->message : text_of(json_object_get(late, "message"));

    json_object_set_new(json, "state", json_string(service_state_name(state)));
    json_object_set_new(json, "message", state == SERVICE_READY ? json_string("") : json_string(message));
    json_object_set_new(json, "restart_count", json_integer(view->restarts));
    json_object_set_new(json, "exit_code",
                        json_is_integer(view->exit_code) ? json_integer(json_integer_value(view->exit_code))
                                                         : json_null());
    json_object_set_new(json, "created", json_integer(time_of(member(view->item, "metadata", "creationTimestamp"))));
    json_object_set_new(json, "generation", json_integer(count_of(member(view->item, "metadata", "generation"), 1)));
    json_object_set(json, "instances", view->instances);
    return json;
}

/* item: its workload. items: of all services, or of this one. */
static tn_status read_service(const json_t *items, const json_t *item, json_t **ret_service, tn_error *err)
{
    service_view view = {.item = item, .instances = json_array()};
    const char *name = label_of(item, LABEL_INSTANCE);
    size_t i;
    json_t *pod;

    tn_status status = workload_read(item, &view.workload, err);
    json_array_foreach(items, i, pod)
    {
        if (status == TN_OK && is_kind(pod, "Pod") && strcmp(label_of(pod, LABEL_INSTANCE), name) == 0)
            add_pod(&view, pod);
    }
    if (status == TN_OK)
        *ret_service = service_json(&view);
    json_decref(view.instances);
    workload_finish(&view.workload);
    return status;
}

tn_status kubernetes_list(const settings *settings, json_t **ret_services, tn_error *err)
{
    kubernetes_options options;
    json_t *items = NULL, *item, *list = json_array(), *service;
    size_t i;

    tn_status status = kubernetes_options_read(settings, &options, err);
    if (status == TN_OK)
        status = kubectl_workloads(&options, NULL, &items, err);
    json_array_foreach(items, i, item) /* kubectl sorts by name */
    {
        if (status != TN_OK || !workload_is(item))
            continue;
        status = read_service(items, item, &service, err);
        if (status == TN_OK)
            json_array_append_new(list, service);
    }
    json_decref(items);
    if (status == TN_OK)
        *ret_services = list;
    else
        json_decref(list);
    return status;
}

static bool is_in(const json_t *service, service_state state)
{
    return strcmp(text_of(json_object_get(service, "state")), service_state_name(state)) == 0;
}

/* What waits for pods to have ended: that the last of them lets the service go, or the last of the old ones their
 * version; who may not let that go sees the service all the same. */
static tn_status complete(const settings *settings, const kubernetes_options *options, const char *name,
                          const json_t *item, const json_t *service, tn_error *err)
{
    workload w = {0};
    tn_error none = TN_ERROR_INIT;
    tn_status status = workload_read(item, &w, err);
    if (status == TN_OK && w.deleting)
        status = workload_forget(settings, options, &w, name, err);
    else if (status == TN_OK && is_in(service, SERVICE_READY))
        lease_release_before(settings, options, name, &w, &none);
    workload_finish(&w);
    return status;
}

tn_status kubernetes_show(const settings *settings, const char *name, json_t **ret_service, tn_error *err)
{
    kubernetes_options options;
    json_t *items = NULL, *item, *service = NULL;
    size_t i;
    bool found = false;

    if (!kubernetes_is_service_name(name))
        return tn_fail(err, TN_E_NOT_FOUND, "kubernetes: there is no service \"%.80s\"", name);
    tn_status status = kubernetes_options_read(settings, &options, err);
    if (status == TN_OK)
        status = kubectl_workloads(&options, name, &items, err);
    json_array_foreach(items, i, item)
    {
        if (status != TN_OK || found || !workload_is(item))
            continue;
        found = true;
        status = read_service(items, item, &service, err);
        if (status == TN_OK)
            status = complete(settings, &options, name, item, service, err);
    }
    json_decref(items);
    if (status == TN_OK && found)
        *ret_service = service;
    else
        json_decref(service);
    if (status == TN_OK && !found)
        return tn_fail(err, TN_E_NOT_FOUND, "kubernetes: there is no service \"%s\"", name);
    return status;
}
