"""Tests share ports and fixtures with the others of their file, and must run where these do."""

import pytest


def test_a_file_of_tests_stays_on_one_worker(request: pytest.FixtureRequest):
    if not hasattr(request.config, "workerinput"):
        pytest.skip("these tests run in one process")
    group = request.node.location[0]
    assert request.node.nodeid.endswith(f"@{group}"), "pytest-xdist read no group from tests/conftest.py"
