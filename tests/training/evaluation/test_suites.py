"""Suites of benchmarks: whose sets are there, and what is averaged over them."""

import pytest
import yaml

from mvcap.errors import ConfigError, EmptyInputError
from training.evaluation.evaluate import Pictures
from training.evaluation.reporting import describe
from training.evaluation.suites import Suite, read_suite, summarise, with_suite


def told(name, top1, base=None):
    share = {"mean": top1, "low": top1, "high": top1}
    found = {
        "name": name,
        "classes": 3,
        "pictures": 9,
        "top1": share,
        "top5": share,
        "views_of_objects": None,
    }
    if base is not None:
        before = {"top1": {"mean": base, "low": base, "high": base}}
        found |= {"base": before, "difference": share, "retention": top1 / base}
    return found


def test_the_papers_suite_has_its_eleven_sets_and_none_that_no_accuracy_measures():
    suite = read_suite("ovt")
    assert {group: len(names) for group, names in suite.groups.items()} == {
        **{"clean": 3, "2D-OOD": 4, "viewpoint-OOD": 4}
    }
    assert "imagenet-o" not in suite.sets
    with pytest.raises(EmptyInputError, match=r"--data NAME=DIR.*imagenet-1k"):
        with_suite(suite, [])


def test_places_come_from_the_command_or_from_the_file_and_are_relative_to_it(tmp_path):
    sets = {
        "near": {"group": "a", "path": "near", "names": "names.txt"},
        "far": {"group": "a", "path": "/sets/far"},
        "nowhere": {"group": "b"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"sets": sets}, sort_keys=False))
    given = [Pictures("far", tmp_path / "here"), Pictures("own", tmp_path)]
    near, far, own = with_suite(read_suite(str(tmp_path / "mine.yaml")), given)
    assert (near.name, near.folder, near.names) == ("near", tmp_path / "near", tmp_path / "names.txt")
    assert (far.folder, own.name) == (tmp_path / "here", "own")


def test_a_group_is_the_plain_mean_of_its_sets_that_are_there():
    suite = read_suite("ovt")
    sets = [told("imagenet-1k", 0.5, 0.4), told("cifar-100", 0.7, 0.8), told("imagenet-v-plus", 0.2, 0.1)]
    found = summarise(suite, sets)
    clean, flat, viewpoint = found["groups"]
    assert clean["top1"] == pytest.approx(0.6)
    assert clean["base_top1"] == pytest.approx(0.6)
    assert clean["missing"] == ["imagenet-100"]
    assert flat["top1"] is None
    assert viewpoint["sets"] == ["imagenet-v-plus"]
    (gap,) = found["gaps"]
    assert (gap["top1"], gap["base_top1"]) == (pytest.approx(0.3), pytest.approx(0.3))
    text = describe({"sets": sets, **found})
    assert "clean: 60.0 -> 60.0, the mean of imagenet-1k, cifar-100; without imagenet-100" in text
    assert "2D-OOD: -, the mean of nothing; without imagenet-v2" in text
    assert "ImageNet-1K to ImageNet-V+: 30.0 -> 30.0" in text


def test_without_a_pretrained_model_only_its_own_figures_are_told():
    found = summarise(Suite(sets={"a": {"group": "g"}}), [told("a", 0.25)])
    assert found["groups"] == [{"name": "g", "sets": ["a"], "missing": [], "top1": 0.25, "base_top1": None}]
    assert "g: 25.0, the mean of a" in describe({"sets": [told("a", 0.25)], **found})


def test_a_suite_with_mistakes_is_refused_with_all_of_them(tmp_path):
    sets = {"a": {"grop": "x"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"sets": sets, "gapps": {}}))
    with pytest.raises(ConfigError) as caught:
        read_suite(str(tmp_path / "mine.yaml"))
    assert "gapps: unknown key; did you mean 'gaps'?" in str(caught.value)
    assert "sets.a.group" in str(caught.value)
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"sets": {"a": {"group": "x"}}, "gaps": {"g": ["a", "b"]}})
    )
    with pytest.raises(ConfigError, match="there is no set 'b'"):
        read_suite(str(tmp_path / "mine.yaml"))
