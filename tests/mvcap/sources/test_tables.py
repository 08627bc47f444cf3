import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap.class_names import clean_name
from mvcap.errors import AssetFolderError
from mvcap.sources._tables import read_categories


def test_every_format_says_the_same(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffuid,category,more\r\n1, bow tie ,x\r\n2,cup,\r\n3,,\r\n".encode())
    pq.write_table(
        pa.table({"source_id": ["1", "2"], "category": ["bow tie", "cup"]}), tmp_path / "a.parquet"
    )
    lvis = {"bow_tie_(clothing)": ["1"], "cup": ["2"]}
    (tmp_path / "a.json").write_text(json.dumps(lvis))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(lvis).encode()))
    for name in ("a.csv", "a.parquet", "a.json", "a.json.gz"):
        assert read_categories(tmp_path / name, "uid", "source_id") == {"1": "bow tie", "2": "cup"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"uid,class\n1,x\n", "must have the columns category and uid; it has uid, class"),
        ("a.csv", b"uid,category\n1,x\n1,y\n", "'1' 'x' and 'y'"),
        ("a.json", b"[1]", "no categories"),
        ("a.json", b"{", "cannot read"),
        ("a.json.gz", b"no gzip", "cannot read"),
        ("a.json.gz", gzip.compress(b"{}", mtime=0)[:10] + b"\xff" * 99, "cannot read"),
        ("a.parquet", b"PAR1", "cannot read"),
        ("a.csv", None, "cannot read"),
    ],
)
def test_a_table_that_is_none_is_an_error_that_names_it(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AssetFolderError, match=said):
        read_categories(tmp_path / name, "uid")


@pytest.mark.parametrize(
    ("listed", "plain", "lowered"),
    [
        ("Toy butterfly ", "Toy butterfly", "toy butterfly"),
        ("CD player", "CD player", "CD player"),
        ("bow_(weapon)", "bow", "bow"),
        ("baluster / handrail", "baluster", "baluster"),
        ("Great  Dane", "Great Dane", "great dane"),
        ("T-shirt", "T-shirt", "T-shirt"),
    ],
)
def test_names_become_plain(listed, plain, lowered):
    assert clean_name(listed) == plain
    assert clean_name(listed, lower=True) == lowered


def test_a_reviewed_name_wins_however_the_list_writes_it():
    assert clean_name("Wahser_", {"wahser": "washing machine"}) == "washing machine"
