"""The report as a person uses it, in headless Chromium: search, turn, read, by hand and by keyboard."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mvcap.config import Config
from mvcap.records import Rejected
from pipelines.reporting import report_dataset

pytestmark = pytest.mark.browser

DESKTOP, PHONE, NARROWEST = (1280, 900), (390, 844), (320, 700)
ATTACK = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
BREAKOUT = "</script><script>window.hacked = 3</script>\"'><svg onload='window.hacked = 4'>"


@pytest.fixture(scope="session")
def page_file(page_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 9 objects of 3 categories, 12 views each; some views have defects, one object failed."""
    things = [
        page_dataset.Thing(f"{category} {number}", category, source="sh3f" if number else "folder")
        for category in ("chair", "cup", "lamp")
        for number in range(3)
    ]
    changes = {
        ("chair 0", 3): {"caption": "a zebra", "category_match": None, "other_category": "lamp"},
        ("chair 1", 4): {"caption_flags": ["repeats"]},
        ("cup 2", 5): {"flags": ["tiny_subject"], "foreground_fraction": 0.01},
    }
    log = "Blender 4.5.15\nSegmentation fault"
    failed = [Rejected("folder-gone-1", "render", "crash", "the child died", signal="SIGSEGV", log_tail=log)]
    root = tmp_path_factory.mktemp("page") / "my dataset"
    page_dataset.write(root, things, changes=changes, failed=failed)
    return report_dataset(Config(name="furniture"), root, None, sample=1000, seed=0).path


@pytest.fixture(scope="session")
def hostile_file(page_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a dataset whose every text tries to get out of it."""
    thing = page_dataset.Thing(
        ATTACK, BREAKOUT, license=BREAKOUT, creator=ATTACK, url="javascript:window.hacked=5", caption=ATTACK
    )
    other = page_dataset.Thing(
        "b", "cup", url="data:text/html,<script>window.hacked=6</script>", caption=BREAKOUT
    )
    failed = [Rejected(BREAKOUT, "render", "error", ATTACK, log_tail=BREAKOUT)]
    root = tmp_path_factory.mktemp("hostile") / "it's <b>here</b>"
    page_dataset.write(root, [thing, other], failed=failed)
    return report_dataset(Config(name=BREAKOUT), root, None, sample=1000, seed=0).path


def captions_of(page: Any) -> list[str]:
    return page.locator("#views .caption").all_inner_texts()


def choose(page: Any, name: str, value: str) -> None:
    page.locator(f"#{name}").select_option(value)


def test_it_opens_and_shows_what_there_is(page_file, visit):
    page = visit(page_file)
    assert page.title() == "furniture: 108 views of 9 objects"
    assert page.locator("#found").inner_text() == "1–24 of 108 views"
    assert page.locator(".tiles").inner_text().split()[:4] == ["9", "objects", "of", "10"]
    painted = page.locator("#views .sprite").evaluate_all(
        "sprites => sprites.filter(one => one.style.backgroundImage.startsWith('url(\"blob:')).length"
    )
    assert painted == 24


def test_pictures_are_those_of_their_views(page_file, visit):
    """Discs move to the right with the view's index."""
    page = visit(page_file)
    choose(page, "order", "object")
    shades = page.evaluate(
        """async () => {
            const shades = [];
            for (const sprite of [...document.querySelectorAll("#views .sprite")].slice(0, 12)) {
                const image = new Image();
                image.src = sprite.style.backgroundImage.slice(5, -2);
                await image.decode();
                const canvas = document.createElement("canvas");
                canvas.width = canvas.height = 160;
                const [sizeX, sizeY] = sprite.style.backgroundSize.split(" ").map(parseFloat);
                const [x, y] = sprite.style.backgroundPosition.split(" ").map(parseFloat);
                const [width, height] = [(160 * sizeX) / 100, (160 * sizeY) / 100];
                const context = canvas.getContext("2d");
                const [left, top] = [((160 - width) * x) / 100, ((160 - height) * y) / 100];
                context.drawImage(image, left, top, width, height);
                const row = context.getImageData(0, 80, 160, 1).data;
                const dark = Array.from({ length: 160 }, (_, at) => at).filter((at) => row[4 * at + 1] < 200);
                shades.push(dark.reduce((sum, at) => sum + at, 0) / dark.length);
            }
            return shades;
        }"""
    )
    assert shades == sorted(shades)
    assert shades[-1] - shades[0] > 25


def test_search_and_filters_narrow_the_list_together(page_file, visit):
    page = visit(page_file)
    page.locator("#query").fill("CUP number 7")
    assert sorted(captions_of(page)) == [f"a cup number 7 of cup {n}" for n in range(3)]
    choose(page, "source", "folder")
    assert captions_of(page) == ["a cup number 7 of cup 0"]
    choose(page, "category", "lamp")
    assert page.locator("#found").inner_text() == "0 views"
    assert "Nothing fits" in page.locator("#views").inner_text()
    page.locator("#query").fill("")
    assert page.locator("#found").inner_text() == "1–12 of 12 views"
    choose(page, "category", "")
    choose(page, "source", "")
    choose(page, "flag", "names another category")
    assert captions_of(page) == ["a zebra"]
    choose(page, "flag", "tiny_subject")
    assert captions_of(page) == ["a cup number 5 of cup 2"]


def test_the_list_is_read_page_by_page(page_file, visit):
    page = visit(page_file)
    seen = captions_of(page)
    assert page.locator("#previous").is_disabled()
    for _ in range(4):
        page.locator("#next").click()
        seen += captions_of(page)
    assert page.locator("#found").inner_text() == "97–108 of 108 views"
    assert page.locator("#next").is_disabled()
    assert len(set(seen)) == len(seen) == 108
    page.locator("#previous").click()
    assert page.locator("#found").inner_text() == "73–96 of 108 views"


def test_a_view_opens_with_everything_known_and_its_command(page_file, visit):
    page = visit(page_file)
    page.locator("#query").fill("zebra")
    page.locator("#views .picture").click()
    dialog = page.locator("#details")
    assert dialog.is_visible()
    told = dialog.inner_text()
    assert all(word in told for word in ("a zebra", "chair 0", "lamp", "CC0-1.0", "Ada", "96 × 96 px"))
    assert dialog.locator("a").get_attribute("href") == "https://example.org/model"
    command = page.locator("#details-command").inner_text()
    where = re.escape(f"'{page_file.parents[1]}'")
    assert re.fullmatch(
        rf"mvcap render --out {where} --uid folder-chair-0-\w+ --view 3 --save again.png", command
    )
    page.keyboard.press("Escape")
    assert dialog.is_hidden()


def azimuth(page: Any) -> int:
    return int(re.search(r"azimuth (\d+)", page.locator("#pose").inner_text()).group(1))


def elevation(page: Any) -> int:
    return int(re.search(r"elevation (\d+)", page.locator("#pose").inner_text()).group(1))


def test_the_turntable_turns_by_dragging(page_file, visit):
    page = visit(page_file)
    stage = page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    start, picture = azimuth(page), page.locator("#frame").get_attribute("style")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 150, middle[1], steps=10)
    turned = (start - azimuth(page)) % 360
    assert 40 <= turned <= 140, "150 px to the right walk about 90° to the left"
    assert page.locator("#frame").get_attribute("style") != picture
    page.mouse.move(middle[0] + 150, middle[1] + 150, steps=10)
    page.mouse.up()
    assert elevation(page) > 45
    resting = azimuth(page)
    page.mouse.move(*middle)
    assert azimuth(page) == resting, "nothing turns once it is let go"


def test_the_turntable_turns_by_keyboard_through_every_view(page_file, visit):
    page = visit(page_file)
    page.locator("#stage").focus()
    seen = [azimuth(page)]
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        seen.append(azimuth(page))
    turns = [(after - before) % 360 for before, after in pairwise(seen)]
    assert all(0 < turn < 180 for turn in turns)
    assert sum(turns) >= 360
    before = azimuth(page)
    page.keyboard.press("ArrowLeft")
    assert (before - azimuth(page)) % 360 < 180
    heights = [elevation(page)]
    for _ in range(12):
        page.keyboard.press("ArrowUp")
        heights.append(elevation(page))
    assert heights == sorted(heights)
    assert heights[-1] == 71  # of 12 views, the arcsin of the largest fraction of k × 0.618
    page.keyboard.press("ArrowDown")
    assert elevation(page) < heights[-1]


def test_the_sphere_marks_where_the_camera_stands_and_takes_clicks(page_file, visit):
    page = visit(page_file)
    assert page.locator("#sphere .dot").count() == 12
    assert page.locator("#sphere .now").count() == 1
    place = page.locator("#sphere .now").get_attribute("cx")
    page.locator("#sphere .dot:not(.now):not(.behind)").first.click()
    assert page.locator("#sphere .now").get_attribute("cx") != place
    caption = page.locator("#turned-caption").inner_text()
    page.locator("#turned").select_option(index=5)
    assert page.locator("#turned-caption").inner_text() != caption


def test_an_object_without_cameras_is_leafed_through(page_dataset, visit, tmp_path):
    page_dataset.write(tmp_path, [page_dataset.Thing("photo", posed=False, source="images")], views=3)
    page = visit(report_dataset(Config(), tmp_path, None, sample=10, seed=0).path)
    assert page.locator("#sphere-figure").is_hidden()
    page.locator("#stage").focus()
    seen = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.append(page.locator("#turned-caption").inner_text())
    assert len(set(seen)) == 3
    page.locator("#turned-details").click()
    assert page.locator("#details-command").is_hidden(), "it was not rendered, so it cannot be made again"


@pytest.mark.parametrize("size", [DESKTOP, PHONE, NARROWEST], ids=["desktop", "phone", "narrowest"])
def test_hostile_names_stay_text(hostile_file, visit, size):
    page = visit(hostile_file, size)
    assert ATTACK in captions_of(page)
    for position in range(2):
        page.locator("#turned").select_option(index=position)
        page.locator("#turned-details").click()
        addresses = page.locator("#details a").count()
        assert addresses == 0
        page.keyboard.press("Escape")
    for details in page.locator("details summary").all():
        details.click()
    assert BREAKOUT in page.locator("details pre").inner_text()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main svg[onload], main script").count() == 0
    links = page.locator("a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    assert all(link.startswith("#") for link in links)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_everything_can_be_reached_and_used_by_keyboard(page_file, visit):
    page = visit(page_file)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"theme", "query", "category", "source", "flag", "license", "order", "next", "picture"} <= reached
    assert {"turned", "stage", "spin"} <= reached
    page.locator("#views .picture").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#details").is_visible()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "picture", "focus returns to where it was"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_contrast_and_structure_pass_axe(page_file, visit, size, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    page = visit(page_file, size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.locator("details summary").first.click()
    results = axe.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    page.locator("#views .picture").first.click()
    results = axe.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_light_and_dark_are_the_readers_choice(page_file, visit):
    page = visit(page_file, color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_without_scripts_the_overview_and_figures_are_there(page_file, visit):
    page = visit(page_file, java_script_enabled=False)
    told = page.locator("main").inner_text()
    assert all(text in told for text in ("108", "CC0-1.0", "Views of each category", "need JavaScript"))
    assert page.locator("details").count() == 1
