"""A kubectl over a file: the commands that the Kubernetes target gives, and what a cluster would say. Every call is a line of CALLS.

    FAKE_CLUSTER     folder with objects.json ("kind/name" to object), calls (JSON lines), logs/POD; made by the test
    FAKE_REFUSAL     a word; the command that it begins is refused with a sentence on standard error

What it does not know it refuses, as kubectl would.
"""
import json
import os
import sys

FOLDER = os.environ["FAKE_CLUSTER"]
KINDS = {"Deployment": "deployments.apps deployments deployment", "StatefulSet": "statefulsets.apps statefulsets statefulset",
         "Pod": "pods", "Service": "services", "ConfigMap": "configmaps", "ServiceAccount": "serviceaccounts",
         "NetworkPolicy": "networkpolicies.networking.k8s.io", "PodDisruptionBudget": "poddisruptionbudgets.policy",
         "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling", "ScaledObject": "scaledobjects.keda.sh",
         "PodMonitor": "podmonitors.monitoring.coreos.com"}


def die(text):
    sys.exit(f"error: {text}")


def kind_of(word):
    for kind, names in KINDS.items():
        if word in names.split():
            return kind
    die(f'the server doesn\'t have a resource type "{word}"')


def load():
    path = os.path.join(FOLDER, "objects.json")
    return json.load(open(path)) if os.path.exists(path) else {}


def store(objects):
    with open(os.path.join(FOLDER, "objects.json"), "w") as file:
        json.dump(objects, file)


def flags(words):
    """Words and {flag: value}; a flag without '=' takes the next word, but for those that take none."""
    alone = {"--ignore-not-found", "--overwrite", "--server-side", "--force-conflicts", "--timestamps"}
    rest, found, at = [], {}, 0
    while at < len(words):
        word = words[at]
        if not word.startswith("--"):
            rest.append(word)
        elif "=" in word:
            found[word.split("=", 1)[0]] = word.split("=", 1)[1]
        elif word in alone:
            found[word] = True
        else:
            at += 1
            found[word] = words[at]
        at += 1
    return rest, found


def selected(objects, selector):
    wanted = dict(pair.split("=") for pair in selector.split(","))
    return {key: each for key, each in objects.items()
            if wanted.items() <= each["metadata"].get("labels", {}).items()}


def apply(objects, rest, found):
    import yaml  # the other commands, which are many, do without
    with open(found["--filename"]) as file:
        documents = list(yaml.safe_load_all(file))
    for each in documents:
        kind_of(KINDS[each["kind"]].split()[0])
        key = f"{each['kind']}/{each['metadata']['name']}"
        kept = objects.get(key, {}).get("metadata", {}).get("annotations", {})
        each["metadata"].setdefault("annotations", {})
        each["metadata"]["annotations"] = {**kept, **each["metadata"]["annotations"]}
        if key in objects and "replicas" not in each.get("spec", {}) and "replicas" in objects[key].get("spec", {}):
            each["spec"]["replicas"] = objects[key]["spec"]["replicas"]
        if "status" in objects.get(key, {}):
            each["status"] = objects[key]["status"]
        objects[key] = each


def get(objects, rest, found):
    kinds = [kind_of(word) for word in rest[0].split(",")]
    name = found.get("--field-selector", "").removeprefix("metadata.name=")
    chosen = selected(objects, found["--selector"]) if "--selector" in found else objects
    items = [each for key, each in sorted(chosen.items()) if each["kind"] in kinds and name in ("", each["metadata"]["name"])]
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def find(objects, kind, name):
    key = f"{kind_of(kind)}/{name}"
    if key not in objects:
        die(f'Error from server (NotFound): {kind} "{name}" not found')
    return objects[key]


def annotate(objects, rest, found):
    notes = find(objects, rest[0], rest[1])["metadata"].setdefault("annotations", {})
    for change in rest[2:]:
        key, equals, value = change.partition("=")
        if equals:
            notes[key] = value
        else:
            notes.pop(key.removesuffix("-"), None)


def scale(objects, rest, found):
    kind, name = rest[0].split("/")
    find(objects, kind, name)["spec"]["replicas"] = int(found["--replicas"])


def delete(objects, rest, found):
    kinds = [kind_of(word) for word in rest[0].split(",")]
    chosen = selected(objects, found["--selector"]) if "--selector" in found else {f"{kinds[0]}/{rest[1]}": None}
    for key in chosen:
        if key.split("/")[0] in kinds:
            objects.pop(key, None)


def logs(objects, rest, found):
    path = os.path.join(FOLDER, "logs", rest[0])
    if not os.path.exists(path):
        die(f'pods "{rest[0]}" not found')
    since = found.get("--since-time", "").removesuffix("Z")
    text = "".join(line for line in open(path) if line.split(" ")[0] >= since)
    sys.stdout.write(text.encode()[:int(found["--limit-bytes"])].decode())


def main():
    words = sys.argv[1:]
    with open(os.path.join(FOLDER, "calls"), "a") as file:
        file.write(json.dumps(words) + "\n")
    rest, found = flags(words)
    if rest[0] == os.environ.get("FAKE_REFUSAL"):
        print("Warning: something else", file=sys.stderr)
        die(f"{rest[0]} is forbidden: User \"ci\" cannot do that")
    verbs = {"apply": apply, "get": get, "annotate": annotate, "scale": scale, "delete": delete, "logs": logs}
    if rest[0] not in verbs:
        die(f'unknown command "{rest[0]}" for "kubectl"')
    objects = load()
    verbs[rest[0]](objects, rest[1:], found)
    store(objects)


main()
