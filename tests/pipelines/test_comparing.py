"""Two datasets side by side: one view in both, or else two views of one category."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mvcap.config import Config
from mvcap.errors import UsageError
from pipelines.comparing import Compared, compare_datasets


@pytest.fixture(scope="session")
def doubles() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "page_dataset.py")))


def compare(folder: Path, *, sample: int = 100) -> Compared:
    first, second = ((folder / name, Config(name=name)) for name in ("one", "two"))
    return compare_datasets(first, second, folder / "page.html", sample=sample, seed=0)


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    return json.loads(found.group(1))


def view_of(data: dict[str, Any], number: int) -> tuple[str, int, str]:
    views = data["views"]
    uid = data["objects"][views["object"][number]]["uid"]
    return uid, views["index"][number], data["texts"][views["caption"][number]]


def test_a_pair_is_the_same_view_in_both_whatever_else_they_hold(doubles, tmp_path):
    shared = [doubles.Thing("a"), doubles.Thing("b", "cup")]
    changed = {("a", 1): {"caption": "a zebra"}}
    doubles.write(tmp_path / "one", [*shared, doubles.Thing("c")], views=4)
    doubles.write(tmp_path / "two", [doubles.Thing("d"), *shared], views=4, changes=changed)
    assert (compare(tmp_path).pairs, compare(tmp_path).same_views) == (8, True)
    data = data_of(tmp_path / "page.html")
    pairs = [(view_of(data["first"], one), view_of(data["second"], other)) for one, other, _ in data["pairs"]]
    assert all(one[:2] == other[:2] for one, other in pairs)
    assert len({one[:2] for one, _ in pairs}) == 8
    [(one, other)] = [(one, other) for one, other in pairs if one[2] != other[2]]
    assert (one[2], other[2]) == ("a chair number 1 of a", "a zebra")
    assert [same for _, _, same in data["pairs"]] == [1] * 8
    assert compare(tmp_path, sample=5).pairs == 5


def test_views_of_more_and_of_fewer_are_paired_where_both_have_them(doubles, tmp_path):
    doubles.write(tmp_path / "one", [doubles.Thing("a"), doubles.Thing("b")], views=3)
    doubles.write(tmp_path / "two", [doubles.Thing("a"), doubles.Thing("b")], views=40)
    for sample, pairs in ((100, 6), (4, 4)):
        assert (compare(tmp_path, sample=sample).pairs, compare(tmp_path).same_views) == (pairs, True)


def test_datasets_without_a_common_object_are_paired_by_category(doubles, tmp_path):
    doubles.write(tmp_path / "one", [doubles.Thing("a"), doubles.Thing("b", "cup")], views=4)
    doubles.write(tmp_path / "two", [doubles.Thing("c"), doubles.Thing("d", "lamp")], views=3)
    assert compare(tmp_path) == Compared((tmp_path / "page.html").stat().st_size, 3, False)
    data = data_of(tmp_path / "page.html")
    for one, other, same in data["pairs"]:
        assert "chair" in view_of(data["first"], one)[2]
        assert "chair" in view_of(data["second"], other)[2]
        assert same == 0


def test_datasets_that_share_nothing_are_refused(doubles, tmp_path):
    doubles.write(tmp_path / "one", [doubles.Thing("a")], views=2)
    doubles.write(tmp_path / "two", [doubles.Thing("b", "cup")], views=2)
    with pytest.raises(UsageError, match="share no object and no category"):
        compare(tmp_path)


def test_what_became_of_the_captions_is_counted(doubles, tmp_path):
    lost = {"caption": "a thing", "category_match": None}
    doubles.write(tmp_path / "one", [doubles.Thing("a")], views=6, changes={("a", 0): lost, ("a", 1): lost})
    doubles.write(tmp_path / "two", [doubles.Thing("a")], views=6, changes={("a", 0): lost, ("a", 2): lost})
    compare(tmp_path)
    table = re.findall(
        r'<th scope="row">([^<]*)</th><td class="number">([\d,]+)</td>', (tmp_path / "page.html").read_text()
    )
    assert dict(table) == {
        "the same words in both": "4",
        "category named in both": "3",
        "named in the first only": "1",
        "named in the second only": "1",
        "named in neither": "1",
    }
