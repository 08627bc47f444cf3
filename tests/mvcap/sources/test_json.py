import io
import json

import pytest

from mvcap.sources import _json
from mvcap.sources._json import iterate_list

ITEMS = [{"a": [1, {"b": "]"}]}, 'x,]\\"', -12.5e3, 7, None, [[]], {"": "\u00e9"}, True, 123456]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("items", [ITEMS, [], [12], ["a"]])
def test_items_are_those_of_the_whole_list_however_it_is_cut(monkeypatch, chunk, indent, items):
    monkeypatch.setattr(_json, "CHUNK", chunk)
    assert list(iterate_list(io.StringIO(" \n" + json.dumps(items, indent=indent) + "\n"))) == items


@pytest.mark.parametrize("text", ["", "{}", "[1, 2", '["a', "[1, nonsense]", "[1 2", "7"])
@pytest.mark.parametrize("chunk", [1, 1000])
def test_what_is_no_whole_list_is_an_error(monkeypatch, text, chunk):
    monkeypatch.setattr(_json, "CHUNK", chunk)
    with pytest.raises(ValueError, match=r".+"):
        list(iterate_list(io.StringIO(text)))


def test_an_endless_item_is_given_up(monkeypatch):
    monkeypatch.setattr(_json, "LONGEST_ITEM", 1000)
    monkeypatch.setattr(_json, "CHUNK", 100)
    with pytest.raises(ValueError, match=r".+"):
        list(iterate_list(io.StringIO('["' + "x" * 5000)))
