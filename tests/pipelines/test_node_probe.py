"""What a node lacks is told with the remedy, each by its own words."""

from pathlib import Path

import pytest

from pipelines.runners.node_probe import Question, code_hash, find_lacks, python_version

TOKEN = "token"


@pytest.fixture
def asked(tmp_path: Path) -> Question:
    """What a driver on this very machine would ask."""
    probe = tmp_path / "probe"
    probe.write_text(TOKEN)
    return Question(python_version(), code_hash(), str(tmp_path), str(probe), TOKEN, [str(tmp_path)])


def test_a_node_like_the_driver_lacks_nothing(asked):
    assert find_lacks(asked) == []


def test_another_python_is_told_alone_as_nothing_else_can_be_compared(asked):
    (lack,) = find_lacks(asked._replace(python="3.9", code="other"))
    assert "the driver 3.9: start Ray on every node from the same environment" in lack


def test_another_mvcap_is_told_with_both_versions(asked):
    (lack,) = find_lacks(asked._replace(code="0123456789ab"))
    assert f"has another mvcap (code {code_hash()}, the driver's is 0123456789ab)" in lack
    assert "install the same version on every node" in lack


def test_a_folder_that_is_not_there_and_one_of_the_same_name_are_told_apart(asked, tmp_path):
    (lack,) = find_lacks(asked._replace(probe=str(tmp_path / "none")))
    assert f"does not see what the driver writes to {tmp_path} (No such file or directory)" in lack
    (lack,) = find_lacks(asked._replace(token="of another driver"))
    assert f"sees another folder under {tmp_path} than the driver: put the dataset (--out)" in lack


def test_each_file_that_workers_would_read_and_is_not_there_is_named(asked, tmp_path):
    (lack,) = find_lacks(asked._replace(reads=[str(tmp_path), "/models/of the driver"]))
    assert lack.startswith("does not see /models/of the driver, which its workers would read: mount it there")


def test_a_run_that_writes_no_dataset_needs_no_folder(asked):
    assert find_lacks(asked._replace(root=None, probe="None")) == []
