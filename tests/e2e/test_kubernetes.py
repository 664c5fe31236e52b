#!/usr/bin/env python3
"""The Kubernetes target: three services as rendered and as the cluster keeps them.

    test_kubernetes.py DRIVER

What is rendered is compared with golden_kubernetes/ and validated against Kubernetes' own schemas (the package kubernetes-validate, strictly: unknown
members are refused) and the CRDs of KEDA and the Prometheus operator. What is asked of kubectl goes to fake_kubectl.py. Exit code 77 (skipped)
without the packages. With UPDATE_GOLDEN=1 the golden files are written instead.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

try:
    import jsonschema
    import kubernetes_validate
    import yaml
except ImportError as missing:
    print(f"{missing}: skipped")
    sys.exit(77)

DRIVER = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden_kubernetes")
with open(os.path.join(HERE, "../reference/golden/crd_schemas.json")) as schemas:
    CRDS = json.load(schemas)["schemas"]
# The oldest that has all we use, and the newest the package knows.
VERSIONS = ["1.28", "1.32", "1.37"]
SECRET = {"group_secret": "large-group"}
KEDA = {"scaler": "keda", "prometheus_url": "http://prometheus.monitoring:9090", "namespace": "llm"}


def drive(*words, options=None, code=0, environment=None):
    settings = [f"target kubernetes.{key}={value}" for key, value in (options or {}).items()]
    done = subprocess.run([DRIVER, *words, *settings], capture_output=True, text=True, env={**os.environ, **(environment or {})}, timeout=60)
    assert done.returncode == code, (words, done.returncode, done.stdout[-500:], done.stderr)
    return done.stdout if code == 0 else done.stderr


def render(case, options=None, **environment):
    return list(yaml.safe_load_all(drive("render", case, options=options, environment=environment)))


def refusal(case, options=None, **environment):
    return drive("render", case, options=options, environment=environment, code=1)


def by_kind(objects, kind, name=None):
    found = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, (kind, name, [each["kind"] for each in objects])
    return found[0]


def validate(objects, versions=VERSIONS):
    """Raises where a schema is not met."""
    for each in objects:
        crd = CRDS.get(f"{each['apiVersion']} {each['kind']}")
        if crd:
            jsonschema.validate(each["spec"], crd)
            continue
        for version in versions:
            kubernetes_validate.validate(each, version, strict=True)


def is_valid(objects, versions=VERSIONS):
    try:
        validate(objects, versions)
        return True
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError):
        return False


# ---- what is rendered ----

def test_golden():
    for case in ("tiny", "chat", "large"):
        text = drive("render", case, options=SECRET)
        version = yaml.safe_load(text.split("\n---\n")[0])["metadata"]["labels"]["app.kubernetes.io/version"]
        text = text.replace(version, "@VERSION@")
        path = os.path.join(GOLDEN, case + ".yaml")
        if os.environ.get("UPDATE_GOLDEN"):
            with open(path, "w") as file:
                file.write(text)
        with open(path) as file:
            assert file.read() == text, f"{path} differs from what is rendered"
        validate(list(yaml.safe_load_all(text)))


def test_references_hold():
    """What one object names of another is there: Kubernetes accepts what points nowhere, and nothing comes up."""
    options = {**SECRET, "monitor": "podmonitor"}
    for case in ("tiny", "chat", "large"):
        objects = render(case, options)
        names = {(each["kind"], each["metadata"]["name"]) for each in objects}
        pods = [each["spec"]["template"] for each in objects if each["kind"] in ("Deployment", "StatefulSet")]
        labels = [pod["metadata"]["labels"] for pod in pods]
        selectors = [each["spec"]["selector"] for each in objects if each["kind"] == "Service"]
        selectors += [each["spec"]["selector"]["matchLabels"] for each in objects
                      if each["kind"] in ("PodDisruptionBudget", "PodMonitor", "Deployment", "StatefulSet")]
        selectors.append(by_kind(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
        for selector in selectors:
            assert any(selector.items() <= each.items() for each in labels), selector
        for each in objects:
            if each["kind"] in ("Deployment", "StatefulSet"):
                assert each["spec"]["selector"]["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
            if each["kind"] == "StatefulSet":
                assert ("Service", each["spec"]["serviceName"]) in names
            if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
                assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in names
        for pod in pods:
            container = pod["spec"]["containers"][0]
            assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in names
            assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["spec"]["volumes"]}
            assert ("ConfigMap", pod["spec"]["volumes"][0]["configMap"]["name"]) in names
            ports = {each["name"] for each in container.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container.get(probe, {"httpGet": {"port": "http"}})["httpGet"]["port"] in ports | {"http"}
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_hardening():
    """What Pod Security Standards' profile restricted asks for, with a claim instead of the host's folder."""
    for case in ("tiny", "chat", "large"):
        for each in render(case, {**SECRET, "volume": "pvc:models"}):
            if each["kind"] not in ("Deployment", "StatefulSet"):
                continue
            pod = each["spec"]["template"]["spec"]
            container = pod["containers"][0]
            assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert not pod["automountServiceAccountToken"] and not any("hostPath" in volume for volume in pod["volumes"])
            assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] not in ("tmp", "shared-memory"))
        assert by_kind(render(case, SECRET), "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert by_kind(render("chat"), "NetworkPolicy")["spec"]["egress"] == []


def test_options():
    options = {"namespace": "llm", "image": "registry.example:5000/tenon@sha256:" + "0" * 64, "image_pull_policy": "Always",
               "image_pull_secret": "pull", "gpu_resource": "nvidia.com/mig-1g.5gb", "runtime_class": "nvidia",
               "node_selector": "nvidia.com/gpu.product=A10G, zone=b", "volume": "nfs:nas.example:/export/models", "memory": "4GiB",
               "ephemeral_storage": "2GiB", "waiting_target": "7", "monitor": "podmonitor", "api_key_secret": "keys", "metrics_secret": "watch"}
    objects = render("chat", options)
    validate(objects)
    assert all(each["metadata"]["namespace"] == "llm" for each in objects)
    pod = by_kind(objects, "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == options["image"] and container["imagePullPolicy"] == "Always"
    assert container["resources"]["limits"] == {"cpu": "6", "memory": "4096Mi", "ephemeral-storage": "2048Mi", "nvidia.com/mig-1g.5gb": "1"}
    assert pod["runtimeClassName"] == "nvidia" and pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "A10G", "zone": "b"}
    assert pod["volumes"][1] == {"name": "models", "nfs": {"server": "nas.example", "path": "/export/models", "readOnly": True}}
    assert by_kind(objects, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "7"
    assert by_kind(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"] == {"name": "watch", "key": "token"}
    assert "api_key_file = /run/secrets/tenon/api-keys/api-keys" in by_kind(objects, "ConfigMap")["data"]["tenon.ini"]
    assert "prometheus.io/scrape" not in by_kind(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]


def test_registry_is_the_volume():
    """A version that is a file lies where the claim, which holds the whole store, has it; so does one that is a folder."""
    view = "/var/lib/tenon/registry/views/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    for path in (view, view + "/chat.gguf", view + "/parts/chat-00001-of-00002.gguf"):
        objects = render("chat", HOSTILE_PATH=path)
        assert by_kind(objects, "Deployment")["spec"]["template"]["spec"]["volumes"][1]["hostPath"]["path"] == "/var/lib/tenon/registry"
        assert f"path = {path.replace('/var/lib/tenon/registry', '/models')}\n" in by_kind(objects, "ConfigMap")["data"]["tenon.ini"]


def test_drivers_have_room():
    """A cluster counts what CUDA takes of a node's memory as the pod's: what is not in the plan is in the limit."""
    for case, host_mib, gpus in (("chat", 2048, 1), ("large", 8192, 4)):
        for each in render(case, SECRET):
            if each["kind"] in ("Deployment", "StatefulSet"):
                limits = each["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
                assert int(limits["memory"].removesuffix("Mi")) >= host_mib + 4096 + 1024 * gpus, limits


def test_to_none_and_back():
    keda = {**KEDA, "wake_query": "sum(rate(requests[1m]))"}
    for most in ("1", "4"):
        objects = render("chat", keda, DRIVER_MAX=most)
        validate(objects)
        spec = by_kind(objects, "ScaledObject")["spec"]
        assert (spec["idleReplicaCount"], spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 1, int(most))
        assert [each["metadata"]["query"] for each in spec["triggers"]][1] == keda["wake_query"]
        assert "replicas" not in by_kind(objects, "Deployment")["spec"]
    assert "idleReplicaCount" not in by_kind(render("chat", KEDA), "ScaledObject")["spec"]
    del keda["namespace"]  # Prometheus knows pods of all
    assert "set namespace" in refusal("chat", keda) and "set namespace" in refusal("chat", keda, DRIVER_MAX="1")
    assert "wake_query" in refusal("chat", DRIVER_MIN="0")
    assert "scaler=keda" in refusal("chat", {"wake_query": "up"})
    assert "prometheus_url must" in refusal("chat", {"scaler": "keda"})
    assert "scaler=none" in refusal("chat", {"scaler": "none"})
    assert by_kind(render("chat", DRIVER_MAX="1"), "Deployment")["spec"]["replicas"] == 1


def test_metric_is_ours():
    """The series that HPA and KEDA look at is one that /metrics has."""
    with open(os.path.join(HERE, "../../runtime/engine/stats.c")) as file:
        assert '"num_requests_waiting"' in file.read()
    with open(os.path.join(HERE, "../../plugins/http_frontend/metrics.c")) as file:
        assert '"tenon"' in file.read()
    metric = by_kind(render("chat"), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    with open(os.path.join(HERE, "../../runtime/target/kubernetes/README.md")) as file:
        rule = yaml.safe_load(re.search(r"```yaml\n(.*?)```", file.read(), re.S).group(1))
    assert rule[0]["name"]["as"] == metric and "tenon:num_requests_waiting" in rule[0]["seriesQuery"]
    query = by_kind(render("chat", KEDA), "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    pods = re.fullmatch(r'sum\(tenon:num_requests_waiting\{pod=~"(.*)",namespace="llm"\}\)', query).group(1)
    assert re.fullmatch(pods, "chat-7d4b9c6f5-x2x8z") and re.fullmatch(pods, "chat-6b7-x2x8z")
    for other in ("chat-large-7d4b9c6f5-x2x8z", "chat-large-0", "chat-large-workers-1", "chat-0", "my-chat-7d4b9c6f5-x2x8z"):
        assert not re.fullmatch(pods, other), other


# ---- what is refused, and what passes unharmed ----

def test_refusals():
    for setting in ("http_frontend.api_key_file=/keys", "http_frontend.tls_cert=/cert", "backend.plugin=/opt/vendor.so",
                    "quant.plugins=quant_awq, /opt/q.so", "model.chat_template=/etc/chat.jinja"):
        assert setting.split("=")[0] in refusal("tiny", DRIVER_SET=setting), setting
    objects = render("tiny", DRIVER_SET="model.chat_template=/srv/models/chat.jinja")
    assert "chat_template = /models/chat.jinja\n" in by_kind(objects, "ConfigMap")["data"]["tenon.ini"]
    assert "plugins" not in by_kind(render("tiny", DRIVER_SET="plugins.path=/build"), "ConfigMap")["data"]["tenon.ini"].replace("plugins = http", "")
    assert "token_secret=NAME" in refusal("tiny", DRIVER_TOKEN_FILE="/etc/tenon/tokens")
    assert "group_secret" in refusal("large")
    assert "--max 1" in refusal("large", SECRET, DRIVER_MAX="2")
    assert "monitor=podmonitor" in refusal("tiny", {"api_key_secret": "keys"})
    assert "metrics_secret" in refusal("tiny", {"api_key_secret": "keys", "monitor": "podmonitor"})
    assert "volume_root" in refusal("tiny", HOSTILE_PATH="/model.gguf")
    assert "which is not in the folder" in refusal("tiny", {"volume_root": "/elsewhere"})
    for name in ("a.b", "-a", "a-", "9a", "A", "a_b", "", "a" * 45, "a\n", "no: yes", "$(date)", "é"):
        assert "can be no Service" in refusal("tiny", DRIVER_NAME=name), name
    wrong = {"namespace": "a.b", "image": "a b", "image_pull_secret": "No", "gpu_resource": "gpu", "node_selector": "a", "volume": "pvc:",
             "volume_root": "/a/../b", "api_key_secret": "x: y", "waiting_target": "0", "monitor": "yes", "memory": "1", "scaler": "vpa"}
    for key, value in wrong.items():
        said = refusal("tiny", {key: value})
        assert key in said and said.count("\n") == 1, said
    for volume in ("nfs:server", "nfs::/x", "pvc:A", "hostpath:/x", "s3:bucket", "pvc:a/b"):
        assert "volume" in refusal("tiny", {"volume": volume}), volume


HOSTILE = ["no", "1e3", "0x10", "1:30", "~", "null", "- x", "a: b", "key:", "# not a comment", "'", '"', "\\", "${HOME}", "$(TENON_RANK)", "{{ x }}",
           "%YAML", "---", "...", "*alias", "&anchor", "!!str x", "| x", "> x", "@x", "`x`", "[", "{}", "?", "- ", "é\u2028\u0085\ufeff\U0001f600",
           "a\u00a0b", "=", "<<", ".inf", "2026-01-02", "x #y"]


def test_hostile_texts():
    """As a name that clients use and as a folder: settings hold all but tabs and blanks at the end."""
    for text in HOSTILE:
        folder = "/srv/" + text.replace(":", "_")
        objects = render("tiny", HOSTILE_NAME=text.strip() or "x", HOSTILE_PATH=folder + "/m")
        assert f"served_model_name = {text.strip()}\n" in by_kind(objects, "ConfigMap")["data"]["tenon.ini"], text
        deployment = by_kind(objects, "Deployment")
        assert deployment["spec"]["template"]["spec"]["volumes"][1]["hostPath"]["path"] == folder, text
        assert json.loads(deployment["metadata"]["annotations"]["tenon/service"])["path"] == folder + "/m"
    validate(objects, VERSIONS[-1:])
    for text in [*map(str.strip, HOSTILE), "12", "0o7", "1_000", "6.", "y", "N", "On", "TRUE"]:  # whole values
        query = by_kind(render("chat", {**KEDA, "wake_query": text}), "ScaledObject")["spec"]["triggers"][1]["metadata"]["query"]
        assert query == text and isinstance(query, str), (text, query)
    for text in ("no", "y", "null", "on", "true"):
        objects = render("chat", {"namespace": text, "api_key_secret": text, "monitor": "none", "node_selector": f"a={text},b=1e3,c=0x1", "image": text}, DRIVER_NAME=text)
        deployment = by_kind(objects, "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        assert deployment["metadata"]["namespace"] == deployment["metadata"]["name"] == pod["containers"][0]["image"] == text
        assert pod["nodeSelector"] == {"a": text, "b": "1e3", "c": "0x1"} and pod["volumes"][2]["secret"]["secretName"] == text
        validate(objects, VERSIONS[-1:])
    for text in ("a\nb", "a\x01", " a"):
        assert "is not a line" in refusal("tiny", HOSTILE_NAME=text), text


def test_broken_manifests_are_seen():
    """The schemas would notice: each of these changes is refused."""
    objects = render("large", SECRET) + render("chat", {**KEDA, "monitor": "podmonitor"}) + \
        [by_kind(render("chat"), "HorizontalPodAutoscaler")]
    validate(objects)

    def broken(kind, path, value):
        whole = at = json.loads(json.dumps(next(each for each in objects if each["kind"] == kind)))
        for step in path[:-1]:
            at = at[step]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value
        return [whole]

    pod = ["spec", "template", "spec"]
    container = pod + ["containers", 0]
    cases = [("Deployment", ["spec", "selector"], None), ("Deployment", container + ["imagePullPolice"], "Always"), ("Deployment", container + ["name"], None),
             ("Deployment", container + ["startupProbe", "failureThreshold"], "9"), ("Deployment", container + ["args"], "serve"),
             ("Deployment", pod + ["securityContext", "runAsUser"], "root"), ("Deployment", pod + ["securityContext", "runAsNoRoot"], True),
             ("Deployment", ["spec", "strategy", "rollingUpdate", "maxSurge"], True), ("StatefulSet", ["spec", "ordinal"], {"start": 1}),
             ("Service", ["spec", "ports", 0, "port"], None), ("NetworkPolicy", ["spec", "podSelector"], "all"), ("ConfigMap", ["data", "tenon.ini"], 1),
             ("HorizontalPodAutoscaler", ["spec", "maxReplicas"], None), ("HorizontalPodAutoscaler", ["spec", "metrics", 0, "type"], None),
             ("PodDisruptionBudget", ["spec", "maxUnavailables"], 1), ("ScaledObject", ["spec", "minReplicas"], 0), ("ScaledObject", ["spec", "triggers"], None),
             ("ScaledObject", ["spec", "triggers", 0, "metadata", "threshold"], 4), ("PodMonitor", ["spec", "podMetricsEndpoint"], []),
             ("PodMonitor", ["spec", "selector"], None), ("ServiceAccount", ["automountServiceAccountToken"], "no")]
    for kind, path, value in cases:
        assert not is_valid(broken(kind, path, value), VERSIONS[-1:]), (kind, path)
    assert not is_valid(render("large", SECRET), ["1.25"]), "ordinals are of a later version"


# ---- what is asked of kubectl ----

class Cluster:
    """fake_kubectl.py in front of PATH, over a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        os.mkdir(os.path.join(folder, "logs"))
        program = os.path.join(folder, "kubectl")
        with open(program, "w") as file:
            file.write(f'#!/bin/sh\nexec "{sys.executable}" -E "{HERE}/fake_kubectl.py" "$@"\n')
        os.chmod(program, 0o755)
        self.temporary = os.path.join(folder, "tmp")
        os.mkdir(self.temporary)
        self.environment = {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_CLUSTER": folder, "TMPDIR": self.temporary}

    def drive(self, *words, options=None, code=0, **environment):
        return drive(*words, options=options, code=code, environment={**self.environment, **environment})

    def objects(self):
        path = os.path.join(self.folder, "objects.json")
        if not os.path.exists(path):
            return {}
        with open(path) as file:
            return json.load(file)

    def change(self, change):
        objects = self.objects()
        change(objects)
        with open(os.path.join(self.folder, "objects.json"), "w") as file:
            json.dump(objects, file)

    def calls(self):
        path = os.path.join(self.folder, "calls")
        with open(path) as file:
            lines = [json.loads(line) for line in file]
        os.remove(path)
        return lines

    def show(self, name, **more):
        return json.loads(self.drive("show", name, **more))

    def add_pod(self, service, name, role="serve", ready=True, node="n1", **status):
        pod = {"kind": "Pod", "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "tenon", "app.kubernetes.io/instance": service, "tenon/role": role}},
               "spec": {"nodeName": node} if node else {}, "status": {"podIP": "10.1.2.3", "startTime": "2026-01-02T03:04:05Z",
               "conditions": [{"type": "Ready", "status": "True" if ready else "False"}], "containerStatuses": [{"restartCount": 0}], **status}}
        self.change(lambda objects: objects.update({"Pod/" + name: pod}))

    def set_status(self, kind, name, **status):
        self.change(lambda objects: objects[f"{kind}/{name}"].update(status=status))


def test_life(cluster):
    cluster.drive("submit", "chat")
    assert {key.split("/")[0] for key in cluster.objects()} == {"ServiceAccount", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service",
                                                                "Deployment", "HorizontalPodAutoscaler"}
    assert not os.listdir(cluster.temporary), "the file that was applied is gone"
    assert "there is a service" in cluster.drive("submit", "chat", code=1)
    said = cluster.show("chat")
    assert said["state"] == "PENDING" and said["target"] == "kubernetes" and said["instances"] == [] and said["max"] == 4
    cluster.add_pod("chat", "chat-1", ready=False, node=None, conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes have a GPU"}])
    assert "0/3 nodes" in cluster.show("chat")["message"] and cluster.show("chat")["state"] == "PENDING"
    cluster.add_pod("chat", "chat-1", ready=False)
    assert cluster.show("chat")["state"] == "LOADING" and cluster.show("chat")["instances"][0]["state"] == "STARTING"
    cluster.add_pod("chat", "chat-1")
    said = cluster.show("chat")
    assert said["state"] == "READY" and said["message"] == "", said
    assert said["instances"] == [{"id": "chat-1", "state": "READY", "started": 1767323045000, "restart_count": 0, "message": "",
                                  "address": "http://10.1.2.3:8000", "node": "n1", "log": None}]
    assert [each["name"] for each in json.loads(cluster.drive("list", "-"))] == ["chat"]

    cluster.drive("scale", "chat", DRIVER_MIN="2", DRIVER_MAX="6")
    spec = cluster.objects()["HorizontalPodAutoscaler/chat"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6) and cluster.show("chat")["min"] == 2
    cluster.drive("scale", "chat", DRIVER_MIN="3", DRIVER_MAX="3")
    assert "HorizontalPodAutoscaler/chat" not in cluster.objects() and cluster.objects()["Deployment/chat"]["spec"]["replicas"] == 3
    assert cluster.show("chat")["state"] == "DEGRADED" and "no range" in cluster.drive("scale", "chat", code=1, DRIVER_MIN="3", DRIVER_MAX="2")

    cluster.drive("suspend", "chat")
    assert cluster.objects()["Deployment/chat"]["spec"]["replicas"] == 0 and cluster.show("chat")["state"] == "SUSPENDING"
    cluster.change(lambda objects: objects.pop("Pod/chat-1"))
    assert cluster.show("chat")["state"] == "SUSPENDED"
    cluster.drive("resume", "chat")
    assert cluster.objects()["Deployment/chat"]["spec"]["replicas"] == 3 and cluster.show("chat")["state"] == "PENDING"

    cluster.drive("replace", "chat", DRIVER_MAX="1")
    assert cluster.objects()["Deployment/chat"]["spec"]["replicas"] == 1 and cluster.show("chat")["max"] == 1
    cluster.drive("remove", "chat")
    assert cluster.objects() == {} and "no service" in cluster.drive("show", "chat", code=1)
    assert "no service" in cluster.drive("remove", "chat", code=1) and "no service" in cluster.drive("suspend", "-x", code=1)


def test_delete(cluster):
    """What pods need, and what tells of them, stays until the last of them has ended; until then nothing else is done with it."""
    for case, kind, replicas, options in (("chat", "Deployment", ["chat"], None), ("large", "StatefulSet", ["large", "large-workers"], SECRET)):
        cluster.drive("submit", case, options=options)
        cluster.add_pod(case, case + "-0")
        cluster.add_pod(case, case + "-evicted", phase="Failed", reason="Evicted")
        made = set(cluster.objects())
        cluster.drive("remove", case)
        assert set(cluster.objects()) == made - {"HorizontalPodAutoscaler/chat"}
        assert [cluster.objects()[f"{kind}/{name}"]["spec"]["replicas"] for name in replicas] == [0] * len(replicas)
        assert cluster.show(case)["state"] == "DELETING" and json.loads(cluster.drive("list", "-"))[0]["state"] == "DELETING"
        for verb in ("submit", "replace", "suspend", "resume", "scale"):
            said = cluster.drive(verb, case, options=options, code=1, DRIVER_MIN="1", DRIVER_MAX="1")
            assert "being deleted" in said and cluster.objects().keys() == made - {"HorizontalPodAutoscaler/chat"}, said
        cluster.drive("remove", case)
        cluster.change(lambda objects: objects.pop(f"Pod/{case}-0"))
        assert cluster.show(case)["state"] == "DELETING"
        assert set(cluster.objects()) == {f"Pod/{case}-evicted"} and "no service" in cluster.drive("show", case, code=1)
        cluster.change(lambda objects: objects.clear())
    cluster.drive("submit", "chat")
    cluster.change(lambda objects: objects["Deployment/chat"]["metadata"].update(deletionTimestamp="2026-01-02T03:04:05Z"))
    assert "being deleted" in cluster.drive("replace", "chat", code=1) and "being deleted" in cluster.drive("resume", "chat", code=1)
    assert cluster.show("chat")["state"] == "DELETING" and "Service/chat" in cluster.objects(), "somebody else's doing"


def test_ranks(cluster):
    cluster.drive("submit", "large", options=SECRET)
    cluster.add_pod("large", "large-0")
    assert cluster.show("large")["state"] == "LOADING", "rank 0 alone is no instance"
    cluster.add_pod("large", "large-workers-1", role="worker")
    said = cluster.show("large")
    assert said["state"] == "READY" and [each["address"] for each in said["instances"]] == ["http://10.1.2.3:8000", None]
    cluster.drive("suspend", "large")
    assert [cluster.objects()["StatefulSet/" + name]["spec"]["replicas"] for name in ("large", "large-workers")] == [0, 0]
    cluster.drive("resume", "large")
    assert [cluster.objects()["StatefulSet/" + name]["spec"]["replicas"] for name in ("large", "large-workers")] == [1, 1]
    assert "--max 1" in cluster.drive("scale", "large", code=1, DRIVER_MIN="1", DRIVER_MAX="2")
    cluster.drive("remove", "large")


def test_extras(cluster):
    """Kinds of other people's are named where there is one, and only there: a cluster without them does not know them."""
    keda = {**KEDA, "wake_query": "up", "monitor": "podmonitor"}
    cluster.drive("submit", "chat", options=keda)
    assert {"ScaledObject/chat", "PodMonitor/chat"} <= set(cluster.objects())
    cluster.drive("suspend", "chat", options=keda)
    assert cluster.objects()["ScaledObject/chat"]["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    cluster.drive("resume", "chat", options=keda)
    assert cluster.objects()["ScaledObject/chat"]["metadata"]["annotations"] == {}
    without = {key: KEDA[key] for key in ("scaler", "prometheus_url")}
    assert "set namespace" in cluster.drive("scale", "chat", options=without, code=1, DRIVER_MIN="2", DRIVER_MAX="3")
    cluster.drive("scale", "chat", options=KEDA, DRIVER_MIN="2", DRIVER_MAX="2")
    cluster.drive("suspend", "chat", options=KEDA)
    cluster.drive("scale", "chat", options=KEDA, DRIVER_MIN="1", DRIVER_MAX="4")
    assert cluster.objects()["ScaledObject/chat"]["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}, "it still rests"
    cluster.drive("resume", "chat", options=KEDA)
    cluster.calls()
    cluster.drive("replace", "chat")
    assert not {"ScaledObject/chat", "PodMonitor/chat"} & set(cluster.objects()) and "HorizontalPodAutoscaler/chat" in cluster.objects()
    cluster.calls()
    cluster.drive("remove", "chat")
    assert cluster.objects() == {} and not any("keda" in " ".join(call) for call in cluster.calls())


def test_troubles(cluster):
    cluster.drive("submit", "tiny", options={"context": "lab", "namespace": "llm", "server_side": "true"})
    calls = cluster.calls()
    assert all(call[:4] == ["--context", "lab", "--namespace", "llm"] for call in calls) and "--server-side" in calls[-1]
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    cluster.add_pod("tiny", "tiny-1", ready=False, containerStatuses=[{"restartCount": 0, "state": waiting}])
    said = cluster.show("tiny")
    assert said["state"] == "FAILED" and said["message"].startswith("ImagePullBackOff: Back-off")
    crash = {"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}
    cluster.add_pod("tiny", "tiny-1", ready=False, containerStatuses=[crash])
    assert cluster.show("tiny")["state"] == "LOADING" and cluster.show("tiny")["exit_code"] == 1
    cluster.add_pod("tiny", "tiny-1", ready=False, containerStatuses=[{**crash, "restartCount": 5}])
    assert cluster.show("tiny")["state"] == "FAILED" and cluster.show("tiny")["restart_count"] == 5
    late = {"waiting": {"reason": "ImagePullBackOff", "message": "x" + "é" * 400}}
    cluster.add_pod("tiny", "tiny-1", ready=False, containerStatuses=[{"restartCount": 0, "state": late}])
    said = cluster.show("tiny")
    assert said["message"].startswith("ImagePullBackOff: xéé") and [each["id"] for each in said["instances"]] == ["tiny-1"], said
    cluster.add_pod("tiny", "tiny-0", ready=False, phase="Failed", reason="Evicted", message="The node was low on resource: memory")
    cluster.add_pod("tiny", "tiny-1")
    said = cluster.show("tiny")
    assert said["state"] == "READY" and [each["state"] for each in said["instances"]] == ["FAILED", "READY"], said
    assert said["instances"][0]["message"].startswith("Evicted: The node")
    cluster.drive("suspend", "tiny")
    cluster.change(lambda objects: objects.pop("Pod/tiny-1"))
    assert cluster.show("tiny")["state"] == "SUSPENDED", "what was evicted does not come back, and does not go by itself"
    cluster.drive("resume", "tiny")
    cluster.change(lambda objects: objects.pop("Pod/tiny-0"))
    cluster.add_pod("tiny", "tiny-1")
    cluster.set_status("Deployment", "tiny", replicas=2, updatedReplicas=1)
    assert cluster.show("tiny")["state"] == "LOADING", "an update is not done while pods of the old make are there"
    cluster.change(lambda objects: objects["Deployment/tiny"]["metadata"].update(deletionTimestamp="2026-01-02T03:04:05Z"))
    assert cluster.show("tiny")["state"] == "DELETING"
    cluster.change(lambda objects: objects["Deployment/tiny"]["metadata"]["annotations"].update({"tenon/service": "[]"}))
    assert "not what Tenon wrote" in cluster.drive("show", "tiny", code=1)
    cluster.change(lambda objects: objects.clear())

    foreign = {"kind": "ConfigMap", "metadata": {"name": "tiny"}, "data": {}}
    cluster.change(lambda objects: objects.update({"ConfigMap/tiny": foreign}))
    assert "a ConfigMap \"tiny\" that is not this service's" in cluster.drive("submit", "tiny", code=1)
    assert cluster.objects() == {"ConfigMap/tiny": foreign}
    cluster.change(lambda objects: objects.clear())

    labels = {"app.kubernetes.io/managed-by": "tenon", "app.kubernetes.io/instance": "large-ranks"}
    for kind, name, labels in (("Service", "large-ranks", labels), ("StatefulSet", "large-workers", {}), ("ScaledObject", "chat", {})):
        other = {f"{kind}/{name}": {"kind": kind, "metadata": {"name": name, "labels": labels}}}
        cluster.change(lambda objects: objects.update(other))
        options = {**SECRET, **KEDA}
        assert f'a {kind} "{name}" that is not this' in cluster.drive("submit", name.split("-")[0], options=options, code=1)
        assert cluster.objects() == other
        cluster.change(lambda objects: objects.clear())

    options = {"monitor": "podmonitor"}
    cluster.drive("submit", "tiny", options=options, code=1, FAKE_REFUSAL="apply")
    assert [call[1].split(".")[0] for call in cluster.calls()[-2:]] == ["podmonitors", "deployments"], "other people's kinds by themselves"
    said = cluster.drive("submit", "tiny", code=1, FAKE_REFUSAL="apply")
    assert said == 'kubectl: error: apply is forbidden: User "ci" cannot do that\n', said
    assert cluster.calls()[-1][0] == "delete", "what was made of it goes again"
    assert "forbidden" in cluster.drive("submit", "tiny", code=1, FAKE_REFUSAL="get") and cluster.objects() == {}
    said = drive("show", "tiny", code=1, environment={"PATH": "/nowhere"})
    assert "kubernetes-client" in said and "--dry-run" in said and said.count("\n") == 1
    drive("render", "tiny", environment={"PATH": "/nowhere"})


def test_strange_answers(cluster):
    """Whatever stands at whatever place of what kubectl says, it is told or left out: nothing ends in a crash."""
    cluster.drive("submit", "tiny")
    cluster.add_pod("tiny", "tiny-a", conditions=[{"type": "PodScheduled", "status": "False", "message": "m"}],
                    containerStatuses=[{"restartCount": 1, "state": {"waiting": {"reason": "r"}}, "lastState": {"terminated": {"exitCode": 1}}}])
    cluster.set_status("Deployment", "tiny", replicas=1, updatedReplicas=1, observedGeneration=1,
                       conditions=[{"type": "Progressing", "status": "False", "message": "late"}])
    whole = {key: each for key, each in cluster.objects().items() if key in ("Deployment/tiny", "Pod/tiny-a")}
    whole["Deployment/tiny"]["spec"] = {"replicas": 1}

    def places(node, path=()):
        yield path
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield from places(node[key], path + (key,))

    count = 0
    for path in places(whole):
        if len(path) < 2 or path[1] in ("apiVersion", "kind") or "labels" in path:
            continue
        copy = json.loads(json.dumps(whole))
        at = copy
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = [None, -1, 2**62, [], {}, "x" * 3000, "\u0001\U0001f600", [{}], True][count % 9]
        cluster.change(lambda objects: (objects.clear(), objects.update(copy)))
        done = subprocess.run([DRIVER, "list", "-"], capture_output=True, text=True, env={**os.environ, **cluster.environment}, timeout=60)
        assert done.returncode == 0 and json.loads(done.stdout) is not None or done.returncode == 1 and done.stderr, (path, done)
        count += 1
    assert count > 30


def test_much(cluster):
    """An answer that is cut is not taken for a wrong one, nor for a whole one."""
    cluster.drive("submit", "tiny")
    for number in range(12):
        cluster.add_pod("tiny", f"tiny-{number}", message="x" * 100000)
    assert "kubectl says more than the 1 MiB" in cluster.drive("list", "-", code=1) and "says more than" in cluster.drive("show", "tiny", code=1)


def test_logs(cluster):
    cluster.drive("submit", "tiny")
    cluster.add_pod("tiny", "tiny-a")
    cluster.add_pod("tiny", "tiny-b")
    path = os.path.join(cluster.folder, "logs", "tiny-a")
    with open(path, "w") as file:
        file.write("2026-01-02T03:04:05.5Z one\n2026-01-02T03:04:05.500000001Z two words\n")
    assert cluster.drive("logs", "tiny").splitlines() == ["tiny-a 1767323045500 one", "tiny-a 1767323045500 two words"]
    with open(os.path.join(cluster.folder, "logs", "tiny-b"), "w") as file:
        file.write("2026-01-02T03:04:06Z other\nno stamp\n")
    assert cluster.drive("logs", "tiny", INSTANCE="tiny-b").splitlines() == ["tiny-b 1767323046000 other"]
    assert "no pod" in cluster.drive("logs", "tiny", code=1, INSTANCE="tiny-c")
    with subprocess.Popen([DRIVER, "logs", "tiny"], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **cluster.environment, "FOLLOW": "3", "INSTANCE": "tiny-a"}) as followed:
        assert [followed.stdout.readline().split(" ", 2)[2] for _ in range(2)] == ["one\n", "two words\n"]
        with open(path, "a") as file:
            file.write("2026-01-02T03:04:05.6Z three\n")
        assert followed.stdout.read().split(" ", 2)[2] == "three\n"
    cluster.calls()
    lines = [f"2026-01-02T03:{i // 60:02}:{i % 60:02}Z {i} {'x' * 400}" for i in range(3600)]
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in lines)
    told = cluster.drive("logs", "tiny", INSTANCE="tiny-a").splitlines()
    assert [line.split(" ", 2)[2] for line in told] == [line.split(" ", 1)[1] for line in lines], "more than kubectl is asked for at once"
    assert sum(call[0] == "logs" for call in cluster.calls()) == 2


def test_program(cluster):
    """`tenon service ... --target kubernetes`, from a real plan to a service that is gone."""
    ini = os.path.join(cluster.folder, "tenon.ini")
    model = os.path.join(HERE, "../reference/golden/tiny_mixed.gguf")
    with open(ini, "w") as file:
        file.write(f"[plugins]\npath = {os.environ['TENON_PLUGINS']}\n[pool ram]\ndevice = ram\nmemory = 4GiB\nhost_memory = true\nbackend = cpu\n"
                   "[target kubernetes]\nvolume = pvc:models\n")

    def tenon(*words, code=0):
        done = subprocess.run([os.environ["TENON"], "service", *words, "--config", ini], capture_output=True, text=True, timeout=60,
                              env={**os.environ, **cluster.environment})
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    create = ["create", "tiny", "--model", os.path.abspath(model), "--pool", "ram", "--target", "kubernetes"]
    shown = tenon(*create, "--dry-run")
    folder = os.path.join(cluster.folder, "out")
    tenon(*create, "--output", folder)
    with open(os.path.join(folder, "kubernetes.yaml")) as file:
        assert file.read() in shown
    objects = list(yaml.safe_load_all(shown.partition("\n")[2]))
    validate(objects)
    config = os.path.join(cluster.folder, "pod.ini")
    with open(config, "w") as file:
        file.write(by_kind(objects, "ConfigMap")["data"]["tenon.ini"].replace("/models/", os.path.dirname(os.path.abspath(model)) + "/"))
    planned = subprocess.run([os.environ["TENON"], "plan", os.path.abspath(model), "--config", config, "--set", f"plugins.path={os.environ['TENON_PLUGINS']}", "--json"],
                             capture_output=True, text=True, timeout=60)
    assert planned.returncode == 0, planned.stderr
    limit = by_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) << 20 > json.loads(planned.stdout)["needed"], "the pod may have what its engine will take"
    assert not cluster.objects() and not os.path.exists(os.path.join(cluster.folder, "calls")), "nothing was asked of a cluster"
    assert "wake_query" in tenon(*create, "--dry-run", "--target-set", "wake_query=up", code=1)
    assert "there is no service" in tenon("update", "tiny", "--max", "2", "--target", "kubernetes", code=1)
    tenon(*create, "--no-wait")
    cluster.add_pod("tiny", "tiny-a")
    assert "READY" in tenon("status", "tiny", "--target", "kubernetes") and "tiny" in tenon("list", "--target", "kubernetes")
    tenon("suspend", "tiny", "--no-wait", "--target", "kubernetes")
    assert cluster.objects()["Deployment/tiny"]["spec"]["replicas"] == 0
    cluster.change(lambda objects: objects.pop("Pod/tiny-a"))
    tenon("delete", "tiny", "--target", "kubernetes")
    assert cluster.objects() == {}


def test_update(cluster):
    """What no flag says is as it was, the version of the registry too; and that is kept until the last pod that runs it has ended."""
    ini = os.path.join(cluster.folder, "tenon.ini")
    model = os.path.abspath(os.path.join(HERE, "../reference/golden/tiny_mixed.gguf"))
    with open(model, "rb") as one, open(os.path.join(cluster.folder, "padded.gguf"), "wb") as other:
        other.write(one.read() + bytes(64))
    with open(ini, "w") as file:
        file.write(f"[plugins]\npath = {os.environ['TENON_PLUGINS']}\n[pool ram]\ndevice = ram\nmemory = 4GiB\nhost_memory = true\nbackend = cpu\n"
                   f"[registry]\npath = {cluster.folder}/registry\n[target kubernetes]\nvolume = pvc:models\n")

    def tenon(*words, code=0, **more):
        done = subprocess.run([os.environ["TENON"], *words, "--config", ini], capture_output=True, text=True, timeout=60,
                              env={**os.environ, **cluster.environment, **more})
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def service(verb, *words, **more):
        return tenon("service", verb, *words, "--target", "kubernetes", **more)

    def is_kept(version):
        done = subprocess.run([os.environ["TENON"], "registry", "rm", "tiny@" + version, "--config", ini], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or "in use by service chat on kubernetes" in done.stderr, done
        return done.returncode != 0

    for path in (model, os.path.join(cluster.folder, "padded.gguf")):
        tenon("registry", "log", "tiny", path)
    tenon("registry", "alias", "set", "tiny@v1", "prod")
    create = ["create", "chat", "--model", "tiny:prod", "--pool", "ram", "--max", "3", "--set", "max_num_seqs=4", "--no-wait"]
    service(*create)
    first = json.loads(service("status", "chat", "--json"))
    tenon("registry", "alias", "set", "tiny@v2", "prod")
    cluster.add_pod("chat", "chat-1")
    service("update", "chat", "--min", "2")
    said = json.loads(service("status", "chat", "--json"))
    assert (said["min"], said["max"]) == (2, 3) and all(said[key] == first[key] for key in ("model", "digest", "path", "pool", "settings")), said
    spec = cluster.objects()["Deployment/chat"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1} and "max_num_seqs = 4" in cluster.objects()["ConfigMap/chat"]["data"]["tenon.ini"]

    assert "forbidden" in service("update", "chat", "--model", "tiny:prod", "--no-wait", code=1, FAKE_REFUSAL="apply")
    tenon("registry", "rm", "tiny@v2")
    tenon("registry", "log", "tiny", os.path.join(cluster.folder, "padded.gguf"), "--version", "v2")
    cluster.set_status("Deployment", "chat", replicas=2, updatedReplicas=1)
    service("update", "chat", "--model", "tiny", "--set", "max_num_seqs=2", "--no-wait")
    said = json.loads(service("status", "chat", "--json"))
    assert said["digest"] != first["digest"] and said["settings"] == ["engine.max_num_seqs=2"] and said["state"] == "LOADING", said
    assert is_kept("v1") and is_kept("v2"), "pods of both are there"
    cluster.set_status("Deployment", "chat", replicas=1, updatedReplicas=1)
    assert "READY" in service("status", "chat", FAKE_REFUSAL="annotate"), "who may only look"
    assert "READY" in service("status", "chat") and not is_kept("v1") and is_kept("v2")
    assert "tenon/before-sha256" not in cluster.objects()["Deployment/chat"]["metadata"]["annotations"]

    service("delete", "chat", "--no-wait")
    assert "DELETING" in service("status", "chat") and is_kept("v2")
    cluster.change(lambda objects: objects.pop("Pod/chat-1"))
    assert service("delete", "chat") == "chat is gone\n" and cluster.objects() == {} and not is_kept("v2")


if __name__ == "__main__":
    for test in (test_golden, test_references_hold, test_hardening, test_options, test_registry_is_the_volume, test_drivers_have_room, test_to_none_and_back, test_metric_is_ours, test_refusals,
                 test_hostile_texts, test_broken_manifests_are_seen):
        begin = time.monotonic()
        test()
        print(f"{test.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
    for test in (test_life, test_delete, test_ranks, test_extras, test_troubles, test_strange_answers, test_much, test_logs, test_program, test_update):
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            test(Cluster(scratch))
        print(f"{test.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
