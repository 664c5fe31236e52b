#!/usr/bin/env python3
"""Makes golden/crd_schemas.json: what KEDA's ScaledObject and the Prometheus operator's PodMonitor may hold, without the prose.

    make_crd_schemas.py KEDA_CHECKOUT REVISION PROMETHEUS_OPERATOR_CHECKOUT REVISION

Both are CustomResourceDefinitions of those projects (Apache-2.0), config/crd/bases/keda.sh_scaledobjects.yaml and
example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml. Kubernetes drops fields that such a schema does not name; here each object
refuses them, so that a misspelt one is seen.
"""
import json
import os
import sys

import yaml

SOURCES = ["config/crd/bases/keda.sh_scaledobjects.yaml",
           "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"]


def structure(node, of_properties=False):
    """The schema without descriptions and extensions, closed; of_properties: names of members, which are none of these."""
    if isinstance(node, list):
        return [structure(each) for each in node]
    if not isinstance(node, dict):
        return node
    if of_properties:
        return {key: structure(value) for key, value in node.items()}
    kept = {key: structure(value, key == "properties") for key, value in node.items()
            if key not in ("description", "default", "format") and not key.startswith("x-kubernetes")}
    if node.get("x-kubernetes-int-or-string"):
        kept.pop("anyOf", None)
        kept["type"] = ["integer", "string"]
    if "properties" in kept:
        kept["additionalProperties"] = False
    return kept


def spec_of(path):
    with open(path) as file:
        definition = yaml.safe_load(file)["spec"]
    version = next(each for each in definition["versions"] if each["storage"])
    kind = f"{definition['group']}/{version['name']} {definition['names']['kind']}"
    return kind, structure(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def main():
    folders, revisions = sys.argv[1::2], sys.argv[2::2]
    schemas = dict(spec_of(os.path.join(folder, path)) for folder, path in zip(folders, SOURCES, strict=True))
    made_from = [f"{path} of {revision}" for path, revision in zip(SOURCES, revisions, strict=True)]
    target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden/crd_schemas.json")
    with open(target, "w") as file:
        json.dump({"made_from": made_from, "schemas": schemas}, file, separators=(",", ":"), sort_keys=True)
        file.write("\n")


main()
