"""`mlcroissant`, the reference reader, takes the metadata as valid and finds every column."""

import json

import pytest

from mvcap import schema
from mvcap.report.croissant import croissant

mlcroissant = pytest.importorskip("mlcroissant", reason="pip install mlcroissant")
LICENSES = ["CC0-1.0", "CC-BY-3.0"]


@pytest.fixture(scope="module")
def told() -> bytes:
    return croissant(
        "chairs & cups",
        url="https://huggingface.co/datasets/me/chairs",
        licenses=LICENSES,
        tables=schema.TABLES,
        cite_as="@inproceedings{ruan2024omniview}",
    )


def test_the_reference_reader_finds_no_error_and_every_column(told):
    dataset = mlcroissant.Dataset(jsonld=json.loads(told))
    assert dataset.metadata.ctx.issues.errors == set()
    found = {records.id: [field.name for field in records.fields] for records in dataset.metadata.record_sets}
    assert found["views"] == schema.VIEW_SCHEMA.names
    assert found["objects"] == schema.OBJECT_SCHEMA.names
    assert set(found) == {"views", "objects", "failures", "caption_scores"}
    assert dataset.metadata.license == sorted(LICENSES)


def test_pictures_lists_and_numbers_have_their_types(told):
    views = json.loads(told)["recordSet"][0]["field"]
    fields = {field["name"]: field for field in views}
    assert fields["image"]["dataType"] == "sc:ImageObject"
    assert fields["image"]["source"]["transform"] == {"jsonPath": "bytes"}
    assert (fields["flags"]["dataType"], fields["flags"]["repeated"]) == ("sc:Text", True)
    assert [fields[name]["dataType"] for name in ("width", "fov_deg", "caption_retried")] == [
        "sc:Integer",
        "sc:Float",
        "sc:Boolean",
    ]
