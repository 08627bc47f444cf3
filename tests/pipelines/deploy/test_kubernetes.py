"""The KubeRay files, by the schemas of Kubernetes, by Ray, and by KubeRay where its own are at hand."""

import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "pipelines/deploy"
KUBERNETES = "1.31"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text())


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_the_job_starts_the_same_cluster_as_the_cluster_file():
    assert read("rayjob.yaml")["spec"]["rayClusterSpec"] == read("raycluster.yaml")["spec"]


@pytest.mark.parametrize("index", [0, 1, 2], ids=["head", "cpu", "gpu"])
def test_every_pod_is_a_pod_by_the_strict_schema_of_kubernetes(index):
    template = groups(read("raycluster.yaml")["spec"])[index]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"}, "spec": template["spec"]}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    pod["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):  # it does look into containers
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_every_node_has_the_same_image_and_the_same_storage():
    pods = [group["template"]["spec"] for group in groups(read("raycluster.yaml")["spec"])]
    for part in ("image", "env", "volumeMounts"):
        assert all(pod["containers"][0][part] == pods[0]["containers"][0][part] for pod in pods)
    assert all(pod["volumes"] == pods[0]["volumes"] for pod in pods)


@pytest.mark.slow
def test_ray_reads_a_head_without_cpus_a_group_of_cpus_and_a_group_of_gpus():
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = read("raycluster.yaml")
    cluster["metadata"]["namespace"] = "default"  # which Kubernetes fills in
    derived = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    resources = {name: node["resources"] for name, node in derived.items()}
    assert resources["headgroup"]["CPU"] == 0
    assert "GPU" not in resources["cpu"]
    assert (resources["cpu"]["CPU"], resources["cpu"]["memory"]) == (16, 64 * 2**30)
    assert (resources["gpu"]["CPU"], resources["gpu"]["GPU"]) == (8, 1)


@pytest.mark.parametrize(
    ("name", "kind"), [("rayjob.yaml", "ray.io_rayjobs.yaml"), ("raycluster.yaml", "ray.io_rayclusters.yaml")]
)
def test_the_files_are_what_kuberay_defines(name, kind):
    """With KUBERAY_CRDS naming `helm-chart/kuberay-operator/crds` of KubeRay's sources (1.7.0 said yes)."""
    import jsonschema

    folder = os.environ.get("KUBERAY_CRDS")
    if not folder:
        pytest.skip("KUBERAY_CRDS names no folder with KubeRay's definitions")
    definition = yaml.safe_load((Path(folder) / kind).read_text())
    (schema,) = [
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if version["name"] == "v1"
    ]
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(read(name), without_unknown_fields(schema))


def without_unknown_fields(schema: Any) -> Any:
    """Refuse what a definition does not name, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [without_unknown_fields(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: without_unknown_fields(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed
