"""Training against the official code's way, written by us from its description: CPU-seconds in one run.

    .venv/bin/pytest -s tests/benchmarks/bench_training_speed.py

One thread; both ways in turn in every round; medians. Each comparison says what is equal, and how nearly.
"""

import io
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from mvcap.plan import stable_hash
from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.backends import blender
from render.cameras import hemisphere_viewpoints
from render.encoding import composite
from render.job import RenderJob
from render.stage import make_scene
from training import gradients
from training.anchors import Maximisation, maximise
from training.assembling import make_student
from training.backends import open_clip
from training.distributed import World
from training.dual_encoder import Encoded, Preprocessing
from training.objective import Objective, Rows
from training.pictures import EncodedPicture
from training.pictures.decoding import Augmentation, decode, to_pixels
from training.pictures.small_copies import QUALITY, SUBSAMPLING
from training.recipes import read_config
from training.student import Student
from training.text_features import TextFeatures

OBJECTS = int(os.environ.get("BENCH_OBJECTS", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
VIEWS, CLEAN = 16, 8
"""Pictures of a step: the paper's mix of 2 to 1."""
MODEL = os.environ.get("BENCH_MODEL", "ViT-B-32")
WIDTH, K, NEIGHBOURS = 512, 5, 5
AS_WE_RENDER, SMALL_PX = 512, 256


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def in_turn(*ways: Callable[[], object]) -> tuple[list[float], list[Any]]:
    """Run each way `ROUNDS` times, one after the other, so that all meet the same machine.

    Returns:
        Median CPU-seconds of each, and what each returned last.
    """
    spent: list[list[float]] = [[] for _ in ways]
    found: list[Any] = [None] * len(ways)
    for _ in range(ROUNDS):
        for index, way in enumerate(ways):
            begun = time.process_time()
            found[index] = way()
            spent[index].append(time.process_time() - begun)
    return [float(np.median(seconds)) for seconds in spent], found


# Maximisation


def official_maximisation(features: Tensor, owner: list[int]) -> tuple[Tensor, dict[int, list[int]]]:
    """Fill a dense buffer row by row; a loop over views for each object's weights; sort lists of pairs."""
    objects = max(owner) + 1
    buffer = torch.zeros(objects, 100, features.shape[1])
    filled = [0] * objects
    for row, object_index in enumerate(owner):
        buffer[object_index, filled[object_index]] = features[row]
        filled[object_index] += 1
    centres = torch.zeros(objects, features.shape[1])
    for object_index in range(objects):
        views = buffer[object_index]
        views = views[~(views == 0).all(1)]
        similarity = views @ views.T
        weights = torch.zeros(len(views))
        for i in range(len(views)):
            near = similarity[i].topk(min(NEIGHBOURS + 1, len(views))).values[1:]
            weights[i] = 1 / (near.mean() + 1e-8)
        centres[object_index] = (weights[:, None] / weights.sum() * views).sum(dim=0)
    likeness = F.cosine_similarity(features, centres[torch.tensor(owner)], dim=1)
    found = defaultdict(list)
    for row, (value, object_index) in enumerate(zip(likeness, owner, strict=True)):
        found[object_index].append((value.item(), row))
    return centres, {key: [row for _, row in sorted(pairs)[:K]] for key, pairs in found.items()}


def test_maximisation_over_ragged_objects():
    rng = np.random.default_rng(0)
    counts = rng.integers(2, 40, OBJECTS)
    owner = np.repeat(np.arange(OBJECTS), counts)
    centres = rng.standard_normal((OBJECTS, WIDTH))
    noise = rng.random((len(owner), 1)) * rng.standard_normal((len(owner), WIDTH))
    features = F.normalize(torch.from_numpy((centres[owner] + noise).astype(np.float32)), dim=1)

    def ours() -> Maximisation:
        return maximise(features, torch.from_numpy(counts), outliers_per_object=K, weights="official")

    (official_s, ours_s), ((anchors, hardest), found) = in_turn(
        lambda: official_maximisation(features, owner.tolist()), ours
    )
    apart = float((found.anchors - F.normalize(anchors, dim=1)).abs().max())
    rows = {row for chosen in hardest.values() for row in chosen}
    same = rows == set(found.outliers.nonzero().flatten().tolist())
    print(
        f"\nmaximisation, {OBJECTS} objects of 2 to 39 views, {len(owner)} views of {WIDTH}: official "
        f"{official_s:.2f} CPU-s, ours {ours_s:.3f}: {official_s / ours_s:.1f} x; anchors within "
        f"{apart:.0e}, outliers {'identical' if same else 'DIFFER'}"
    )
    assert same
    assert apart < 1e-6


# A step


@dataclass(frozen=True, slots=True)
class StepData:
    """A batch of views and clean pictures, with anchors as a maximisation would have left them."""

    pixels: Tensor
    captions: list[str]
    rows: Rows
    anchors: Tensor


def draw_step() -> StepData:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (VIEWS + CLEAN, 3, 224, 224), generator=generator, dtype=torch.uint8)
    anchors = F.normalize(torch.randn(OBJECTS, WIDTH, generator=generator), dim=1)
    is_view = torch.arange(VIEWS + CLEAN) < VIEWS
    rows = Rows(
        objects=torch.arange(VIEWS + CLEAN),
        captions=torch.arange(VIEWS + CLEAN),
        is_view=is_view,
        outliers=is_view & (torch.arange(VIEWS + CLEAN) % 12 < K),  # 5 of 12 views
    )
    captions = [f"a red chair number {i} from above, on a white background" for i in range(VIEWS + CLEAN)]
    return StepData(pixels, captions, rows, anchors)


def official_loss(student: Student, data: StepData) -> Tensor:
    """Encode the texts anew and the outliers twice, and compare these with every object for nothing."""
    rows = data.rows
    images = student.finish(student.encode_pictures(data.pixels))
    texts = student.encode_texts(student.encoder.tokenize(data.captions))
    logits = student.inverse_temperature() * images @ texts.T
    own = torch.arange(len(images))
    contrast = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    hard = student.finish(student.encode_pictures(data.pixels[rows.outliers]))
    with_all = hard @ data.anchors.T
    with_all.max(dim=1)
    distance = 1 - F.cosine_similarity(hard, data.anchors[rows.objects[rows.outliers]])
    return contrast + F.relu(distance + 0.3).mean()


def our_gradient(student: Student, data: StepData, texts: Callable[[], Tensor], dtype: torch.dtype) -> Tensor:
    """Do what the trainer does, from pixels to gradients."""
    config = read_config("ovt-official")
    objective = Objective(config.loss, config.anchors, World())
    with torch.no_grad():
        of_texts = texts()

    def encode(pixels: Tensor) -> Encoded:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return student.encode_pictures(pixels)

    def loss(encoded: Encoded) -> Tensor:
        features, scale = student.finish(encoded), student.inverse_temperature()
        parts = objective(features, of_texts, data.rows, scale, anchors=lambda objects: data.anchors[objects])
        assert isinstance(parts.total, Tensor)
        return parts.total

    return gradients.backward(data.pixels, encode, loss, micro_batch=None)


def gradient_of(student: Student, backward: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return a loss and its gradient, flat."""
    student.zero_grad(set_to_none=True)
    loss = backward().item()
    found = [parameter.grad.flatten() for parameter in student.parameters() if parameter.grad is not None]
    return loss, torch.cat(found)


def test_a_step():
    config = read_config("ovt-official")
    encoder = open_clip.create(open_clip.Options(model=MODEL, pretrained=None), weights=False)
    student = make_student(encoder, config).eval()  # without dropout: the gradients are compared
    data = draw_step()
    cache = TextFeatures(student, data.captions, frozen=True, device=torch.device("cpu"))

    def official() -> Tensor:
        loss = official_loss(student, data)
        loss.backward()
        return loss

    def anew() -> Tensor:
        return student.encode_texts(student.encoder.tokenize(data.captions))

    def cached() -> Tensor:
        return cache(data.rows.captions)

    cached()
    ways: dict[str, Callable[[], Tensor]] = {
        "official": official,
        "outliers from the same pass": partial(our_gradient, student, data, anew, torch.float32),
        "and texts from the cache": partial(our_gradient, student, data, cached, torch.float32),
        "and bfloat16": partial(our_gradient, student, data, cached, torch.bfloat16),
    }
    seconds, found = in_turn(*(partial(gradient_of, student, way) for way in ways.values()))
    print(f"\na step of {MODEL}, {VIEWS} views and {CLEAN} clean pictures, from pixels to gradients:")
    for name, spent, (loss, gradient) in zip(ways, seconds, found, strict=True):
        error = float((gradient - found[0][1]).norm() / found[0][1].norm())
        print(
            f"  {name:28} {spent:6.2f} CPU-s {seconds[0] / spent:5.2f} x; loss {loss:.5f}, gradient differs "
            f"by {error:.1e} of its norm"
        )
    for loss, gradient in found[1:3]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert (gradient - found[0][1]).norm() < 1e-4 * found[0][1].norm()


# Decoding


def rendered_views() -> list[NDArray[np.uint8]]:
    """Return (H, W, 3) pictures as the paper's are: 512 px on white."""
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = [item for item in sh3f.list_objects(sh3f.Options()) if isinstance(item, SelectedObject)]
    by_name = {item.record.source_id.partition("#")[2]: item for item in listed}
    scene = make_scene(
        **{"resolution": AS_WE_RENDER, "lens_mm": 35.0, "sensor_mm": 32.0, "light": "studio"},
        **{"preset": "fast", "samples": None, "view_transform": "Standard"},
    )
    pictures = []
    with blender.create(blender.Options(), interpreter=None) as renderer:
        for name in ("teddyBear", "bicycle", "caffe_final", "toyTrain"):
            item = by_name[name]
            cameras = tuple(hemisphere_viewpoints(2, np.random.default_rng([0, stable_hash(item.uid)])))
            job = RenderJob(item.uid, item.record.asset, item.record.rotation, cameras, 1.5, 0.04, scene)
            white = np.full(3, 255, np.uint8)
            pictures += [composite(view.rgba, white) for view in renderer.render(job)]
    return pictures


def photographs() -> list[NDArray[np.uint8]]:
    """Return (H, W, 3) pictures with something everywhere, as frames of a video have."""
    whole = skimage.data.astronaut()
    return [np.roll(whole, 64 * step, axis=1) for step in range(8)]


@pytest.mark.parametrize("subject", ["renders", "photographs"])
def test_decoding(subject):
    pngs, jpegs = [], []
    for picture in rendered_views() if subject == "renders" else photographs():
        image = Image.fromarray(picture)
        image.save(buffer := io.BytesIO(), "PNG")
        pngs.append(buffer.getvalue())
        image.resize((SMALL_PX, SMALL_PX), Image.Resampling.BICUBIC).save(
            buffer := io.BytesIO(), "JPEG", quality=QUALITY, subsampling=SUBSAMPLING
        )
        jpegs.append(buffer.getvalue())
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    official = transforms.Compose(
        [
            transforms.RandomRotation(90),
            transforms.RandomAffine(0, translate=(0.1, 0.1)),
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    preprocessing = Preprocessing(224, mean, std, "bicubic", lambda image: image)
    rng = np.random.default_rng(0)

    def ours(augmentation: Augmentation) -> list[NDArray[np.uint8]]:
        return [
            to_pixels(decode(EncodedPicture(data), "x"), preprocessing, augmentation, rng) for data in jpegs
        ]

    ways: dict[str, Callable[[], object]] = {
        f"official, PNG of {AS_WE_RENDER} px turned, shifted, fitted, normalised": lambda: [
            official(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs
        ],
        f"ours, JPEG of {SMALL_PX} px, resized crop": partial(ours, Augmentation(0.6)),
        f"ours, JPEG of {SMALL_PX} px, window": partial(ours, Augmentation(crop="window")),
    }
    seconds, _ = in_turn(*ways.values())
    print(f"\ndecoding {len(pngs)} pictures, {subject}:")
    for name, spent in zip(ways, seconds, strict=True):
        print(f"  {name:64} {1000 * spent / len(pngs):5.2f} CPU-ms {seconds[0] / spent:5.1f} x")
