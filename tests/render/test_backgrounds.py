"""Which picture stands behind which view, and what of a folder counts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import UsageError
from mvcap.plan import stable_hash
from render.backgrounds import Backgrounds, fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten plain pictures of different shades, one of them in a folder below."""
    (tmp_path / "pictures/inner").mkdir(parents=True)
    for index in range(10):
        name = f"inner/{index}.PNG" if index == 9 else f"{index}.png"
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_every_picture_is_chosen_about_as_often(folder):
    backgrounds = Backgrounds.open(folder, seed=0)
    counts = Counter(backgrounds.choose(f"uid{index // 20}", index % 20) for index in range(2000))
    assert set(counts) == set(backgrounds.names)
    assert min(counts.values()) > 150


def test_the_choice_depends_on_seed_uid_and_view(folder):
    def choices(seed: int, uid: str) -> list[str]:
        backgrounds = Backgrounds.open(folder, seed=seed)
        return [backgrounds.choose(uid, view) for view in range(20)]

    assert choices(0, "a") == choices(0, "a")
    assert choices(0, "a") != choices(0, "b")
    assert choices(0, "a") != choices(1, "a")
    assert len(set(choices(0, "a"))) > 3


def test_the_choice_of_the_first_view_does_not_follow_its_camera(folder):
    backgrounds = Backgrounds.open(folder, seed=0)
    chosen = [backgrounds.names.index(backgrounds.choose(str(uid), 0)) for uid in range(300)]
    heights = [np.random.default_rng([0, stable_hash(str(uid))]).random() for uid in range(300)]
    assert abs(np.corrcoef(chosen, heights)[0, 1]) < 0.2


def test_a_picture_is_cut_square_around_its_middle(tmp_path):
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = (10, 200, 30)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    pixels = Backgrounds.open(tmp_path, seed=0).pixels("wide.png", 10)
    assert pixels.shape == (10, 10, 3)
    assert (pixels == (10, 200, 30)).all()


def test_a_photograph_stands_upright_and_grey_becomes_colour(tmp_path):
    grey = np.zeros((8, 8), dtype=np.uint8)
    grey[:, :4] = 255  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: left becomes top
    Image.fromarray(grey).save(tmp_path / "grey.png", exif=exif)
    pixels = Backgrounds.open(tmp_path, seed=0).pixels("grey.png", 8)
    assert (pixels[0] == 255).all()
    assert (pixels[-1] == 0).all()


def test_the_fingerprint_sees_content_and_names_and_not_the_place(folder, tmp_path):
    first = fingerprint(folder)
    assert first["pictures"] == 10
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "LICENCE.txt").write_text("free")
    (moved / ".3.png").write_bytes(b"what some systems leave beside pictures")
    assert fingerprint(moved) == first
    (moved / "3.png").rename(moved / "33.png")
    renamed = fingerprint(moved)
    assert renamed["sha256"] != first["sha256"]
    Image.new("RGB", (8, 8), (99, 0, 0)).save(moved / "33.png")
    assert fingerprint(moved)["sha256"] not in (renamed["sha256"], first["sha256"])


def test_a_folder_that_is_missing_empty_or_a_file_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("")
    (tmp_path / "file").write_text("")
    for name, problem in (("nowhere", "No such file"), ("file", "Not a directory"), ("empty", "no picture")):
        with pytest.raises(UsageError, match=problem):
            fingerprint(tmp_path / name)


def test_what_is_no_picture_of_eight_bits_is_refused_by_name(folder):
    (folder / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(UsageError, match=r"broken\.jpg is not a readable picture"):
        fingerprint(folder)
    (folder / "broken.jpg").unlink()
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(folder / "deep.png")
    with pytest.raises(UsageError, match=r"deep\.png has mode I;16"):
        fingerprint(folder)


def test_a_picture_that_breaks_off_is_a_usage_error_when_it_is_needed(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "half.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "half.jpg").read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"half\.jpg"):
        Backgrounds.open(tmp_path, seed=0).pixels("half.jpg", 32)
