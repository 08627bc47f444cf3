"""The views of a dataset of ours: which, in what order, and their stored bytes."""

import io
import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, features

from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, EmptyInputError, OutputError
from mvcap.storage import Store
from training.pictures import EncodedPicture
from training.pictures.dataset import DatasetPictures
from training.pictures.decoding import decode
from training.pictures.opening import open_pictures


def everything(split, uid):
    return True


def stored(dataset):
    tables = [pq.read_table(path) for path in sorted((dataset / "data").glob("*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    return {f"{row['uid']}#{row['view_index']}": row for row in rows}


def test_it_is_what_the_files_hold_object_by_object(small_dataset):
    pictures = DatasetPictures(small_dataset, everything)
    table, rows = pictures.table, stored(small_dataset)
    assert len(table) == len(rows) == 48
    assert table.counts.tolist() == [4] * 12
    order = [40, 3, 3, 0, 17]
    found = pictures.read(order)
    for row, picture in zip(order, found, strict=True):
        expected = rows[pictures.key(row)]
        assert picture.data == expected["image"]["bytes"]
        assert table.captions[int(table.caption_index[row])] == expected["caption"]
        assert table.categories[table.category_index[row]] == expected["category"]
        assert table.azimuth_deg[row] == pytest.approx(expected["azimuth_deg"])
    assert sorted(pictures.key(row) for row in range(48)) == sorted(rows)


def test_only_wanted_objects_are_in_it(small_dataset):
    kept = DatasetPictures(small_dataset, lambda split, uid: split == "test")
    assert (len(kept.table), kept.table.objects) == (8, 2)
    assert all("cup" in kept.key(row) or "lamp" in kept.key(row) for row in range(8))
    with pytest.raises(EmptyInputError, match="0 of its objects"):
        DatasetPictures(small_dataset, lambda split, uid: False)


def test_it_goes_to_another_process(small_dataset):
    pictures = DatasetPictures(small_dataset, everything)
    copy = pickle.loads(pickle.dumps(pictures))  # noqa: S301
    assert copy.read([5]) == pictures.read([5])
    assert copy.key(5) == pictures.key(5)


def test_a_file_without_a_commit_record_is_not_read(small_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_dataset, copy)
    store = Store(copy)
    shard = store.require_plan().shards[0]
    store.commit_path(CAPTION, shard.index).unlink()
    foreign = next((copy / "data").glob("*.parquet"))
    shutil.copy(foreign, copy / "data" / "train-foreign.parquet")
    kept = {f"{uid}" for other in store.require_plan().shards[1:] for uid in other.uids}
    pictures = DatasetPictures(copy, everything)
    assert {pictures.key(row).partition("#")[0] for row in range(len(pictures.table))} == kept


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_a_finished_dataset_that_has_lost_a_file_is_not_read_without_it(small_dataset, tmp_path, damage):
    """A shard whose file is gone counts as one yet to come; one of the right size is opened."""
    copy = tmp_path / "copy"
    shutil.copytree(small_dataset, copy)
    file = sorted((copy / "data").glob("*.parquet"))[1]
    content = file.read_bytes()
    half = len(content) // 2
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[:half] if damage == "cut" else content[half:] + content[:half])
    with pytest.raises(CorruptDatasetError, match="mvcap verify"):
        open_pictures(copy, keep=everything)
    if damage != "changed":
        open_pictures(copy, keep=lambda split, uid: split == "test")


def test_a_folder_that_is_no_dataset_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="not a dataset"):
        DatasetPictures(tmp_path, everything)


def test_alpha_is_composited_on_the_recorded_background():
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    half.putpixel((1, 0), (255, 0, 0, 0))
    half.save(buffer := io.BytesIO(), "PNG")
    image = decode(EncodedPicture(buffer.getvalue(), "#0000ff"), "a#0")
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "I;16", "1"])
def test_other_kinds_of_pictures_become_rgb(mode):
    name = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    Image.new("L", (3, 2), 7).convert(mode if mode != "I;16" else "I").convert(mode).save(
        buffer := io.BytesIO(), name
    )
    assert decode(EncodedPicture(buffer.getvalue()), "a#0").mode == "RGB"


def test_sixteen_bits_of_grey_become_eight_and_thirty_two_are_refused():
    levels = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    Image.fromarray(levels).save(buffer := io.BytesIO(), "PNG")
    image = decode(EncodedPicture(buffer.getvalue()), "a#0")
    assert [image.getpixel((x, 0)) for x in range(4)] == [(grey,) * 3 for grey in (0, 1, 128, 255)]
    Image.new("F", (2, 2)).save(buffer := io.BytesIO(), "TIFF")
    with pytest.raises(CorruptDatasetError, match="a#0 does not decode: pictures of mode F"):
        decode(EncodedPicture(buffer.getvalue()), "a#0")


def test_what_is_no_picture_is_named_with_what_to_do_and_without_an_address():
    with pytest.raises(CorruptDatasetError, match="a#0 does not decode: of no known format; mend it"):
        decode(EncodedPicture(b"nothing"), "a#0")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_a_damaged_avif_is_named_as_well():
    Image.new("RGB", (16, 16), "red").save(buffer := io.BytesIO(), "AVIF")
    with pytest.raises(CorruptDatasetError, match="a#0 does not decode"):
        decode(EncodedPicture(buffer.getvalue().replace(b"pitm", b"none")), "a#0")


def test_a_dataset_of_ours_is_seen_upright_as_its_captioner_saw_it(small_dataset):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.new("RGB", (8, 4)).save(buffer := io.BytesIO(), "JPEG", exif=exif)
    assert decode(EncodedPicture(buffer.getvalue(), exif=True), "a#0").size == (4, 8)
    assert decode(EncodedPicture(buffer.getvalue()), "0/a.jpg").size == (8, 4), "as clip_benchmark"
    assert DatasetPictures(small_dataset, everything).read([0])[0].exif


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_does_not_decode_is_named(data):
    with pytest.raises(CorruptDatasetError, match="chair-1#3"):
        decode(EncodedPicture(data), "chair-1#3")
