"""The doctor looks at everything and says what to do about what is wrong."""

import pytest

from pipelines import doctor


@pytest.mark.blender
def test_this_machine_is_looked_over():
    findings = {finding.name: finding for finding in doctor.examine()}
    assert findings["Blender"].fine
    assert "blender" in findings["Blender"].detail
    assert {"Python", "ray", "torch", "memory", "shared memory", "open files", "disk here"} <= set(findings)


def test_a_finding_that_is_not_fine_shows_its_remedy():
    assert "-> ulimit" in str(doctor.Finding("open files", False, "limit 10", "ulimit -n 65536"))
    assert "->" not in str(doctor.Finding("open files", True, "limit 65536", "ulimit -n 65536"))


def test_missing_demo_objects_are_found_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path))
    (finding,) = doctor._furniture()
    assert not finding.fine
    assert "mvcap.sources.sh3f.fetch" in finding.remedy
