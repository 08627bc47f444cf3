"""The file for `ray up`: by Ray's own schema, and by what AWS says of the machines it names."""

from pathlib import Path

import pytest
import yaml

LAUNCHER = Path(__file__).parents[3] / "pipelines/deploy/aws.yaml"


@pytest.mark.slow
def test_the_launcher_takes_the_file_and_finds_cpus_and_gpus(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    from moto import mock_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(LAUNCHER.read_text()))
    validate_config(config)
    with mock_aws():  # which knows the real types of machines
        filled = AWSNodeProvider.fillout_available_node_types_resources(config)
    resources = {name: node["resources"] for name, node in filled["available_node_types"].items()}
    assert resources["head"]["CPU"] == 0
    assert (resources["cpu"]["CPU"], resources["cpu"].get("GPU", 0)) == (32, 0)
    assert resources["gpu"]["GPU"] == 1
