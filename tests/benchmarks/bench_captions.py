"""Captioning against the official loop: seconds of both from one run, with identical captions.

    make bench                                    # or, to choose:
    BENCH_IMAGES=4096 BENCH_MODEL=/models/name .venv/bin/pytest -s tests/benchmarks/bench_captions.py

The official loop opens a picture with Pillow and runs the processor on it, one after the other, until a batch
of 64 is full, calls `generate`, and starts anew. Ours is the caption stage as the pipeline runs it. Both read
the same 512 px JPEGs. Two devices:

* emulated: `generate` is a sleep as long as the official loop takes to prepare a batch, so that perfect
  overlap would be twice as fast. The pictures are resized to 224 px, as for the real model.
* this machine's CPU, with one torch thread and the small untrained InstructBLIP, or BENCH_MODEL.

On both the captions must be the same. The agreement of bfloat16 with float32 is measured beside it; the words
of an untrained model are near ties, so it agrees much less than a trained one.
"""

import hashlib
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import InstructBlipProcessor

from captions.backends import instructblip
from captions.checkpoints import Checkpoint, find_checkpoint
from captions.prompts import category_prompt
from captions.stage import caption_views
from captions.tiny.untrained import cached_untrained_checkpoint
from mvcap.config import PAPER_PROMPT, CaptionsConfig
from mvcap.records import CaptionedView, ObjectRecord, SelectedObject, View

pytestmark = pytest.mark.timeout(3600)

IMAGES = int(os.environ.get("BENCH_IMAGES", "1024"))
MODEL = os.environ.get("BENCH_MODEL", "untrained")
BATCH = 64
ROUNDS = 3
CATEGORIES = ("chair", "coffee table", "pogo-stick", "car", "wooden rocking horse")
GENERATION = {"num_beams": 5, "max_new_tokens": 32, "min_length": 1, "repetition_penalty": 1.5}
Timed = tuple[float, list[str]]
"""How long it took, and the captions."""


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Pictures of 512 px as the renderer stores them: shapes on white, JPEG quality 95, 4:4:4."""
    return [make_view(index) for index in range(IMAGES)]


def make_view(seed: int) -> View:
    rng = np.random.default_rng(seed)
    image = Image.effect_noise((512, 512), 40).convert("RGB")
    for _ in range(12):
        left, top, width, height = (int(value) for value in rng.integers(0, 256, 4))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        ImageDraw.Draw(image).ellipse([left, top, left + width, top + height], fill=colour)
    image.save(buffer := io.BytesIO(), "JPEG", quality=95, subsampling=0)
    record = ObjectRecord(f"bench-{seed}", "bench", str(seed), "", "", None, None, None)
    item = SelectedObject(record, CATEGORIES[seed % len(CATEGORIES)])
    return View(item, 0, buffer.getvalue(), "#ffffff", 512, 512, None, None)


def official_loop(
    files: Sequence[Path],
    prompts: Sequence[str],
    processor: InstructBlipProcessor,
    generate: Callable[[dict[str, torch.Tensor]], list[str]],
) -> list[str]:
    captions = []
    for start in range(0, len(files), BATCH):
        pictures = []
        for file in files[start : start + BATCH]:
            image = Image.open(file).convert("RGB")
            pictures.append(processor.image_processor(images=image, return_tensors="pt")["pixel_values"])
        inputs = prompt_inputs(processor, prompts[start : start + BATCH])
        captions += generate({**inputs, "pixel_values": torch.cat(pictures)})
    return captions


def prompt_inputs(processor: InstructBlipProcessor, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Tokenize prompts behind the place of the picture, which a blank one takes here."""
    blank = [Image.new("RGB", (16, 16))] * len(prompts)
    encoded = dict(processor(images=blank, text=list(prompts), padding="longest", return_tensors="pt"))
    del encoded["pixel_values"]
    return encoded


def our_stage(views: Sequence[View], captioner: object) -> list[str]:
    decoders = CaptionsConfig().decoders
    records = caption_views(
        views, captioner, prompt_template=PAPER_PROMPT, batch_size=BATCH, threads=decoders
    )
    return [record.caption for record in records if isinstance(record, CaptionedView)]


def compare(theirs: Callable[[], list[str]], ours: Callable[[], list[str]]) -> tuple[float, float, float]:
    """Run the two in turn; return their medians and the median of the ratios."""
    pairs = []
    for _ in range(ROUNDS):
        (their_s, expected), (our_s, captions) = timed(theirs), timed(ours)
        assert captions == expected
        pairs.append((their_s, our_s))
    ratio = statistics.median(a / b for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def timed(work: Callable[[], list[str]]) -> Timed:
    begun = time.perf_counter()
    captions = work()
    return time.perf_counter() - begun, captions


@pytest.fixture(scope="module")
def files(views: list[View], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loose")
    for view in views:
        (folder / f"{view.object.uid}.jpg").write_bytes(view.image)
    return [folder / f"{view.object.uid}.jpg" for view in views]


@pytest.fixture(scope="module")
def prompts(views: list[View]) -> list[str]:
    return [category_prompt(PAPER_PROMPT, view.object.category) for view in views]


def fingerprints(pixels: torch.Tensor) -> list[str]:
    """Stand for captions: they tell whether the device got the same pictures in the same order."""
    return [hashlib.sha256(picture.numpy().tobytes()).hexdigest() for picture in pixels]


class EmulatedDevice(instructblip.InstructBlipCaptioner):
    """InstructBLIP whose `generate` is a sleep."""

    seconds_per_batch = 0.0

    def _generate(self, generation: Any, batch: Sequence[tuple[torch.Tensor, str]]) -> list[str]:
        self._encode([prompt for _, prompt in batch])
        time.sleep(self.seconds_per_batch * len(batch) / BATCH)
        return fingerprints(torch.stack([pixels for pixels, _ in batch]))


def load(kind: type[instructblip.InstructBlipCaptioner], dtype: str = "float32") -> Any:
    options = instructblip.Options(model=MODEL, device="cpu", dtype=dtype)
    return kind(find(options), options)


def load_processor() -> InstructBlipProcessor:
    folder = find(instructblip.Options(model=MODEL)).folder
    return InstructBlipProcessor.from_pretrained(folder, backend="pil")


def find(options: instructblip.Options) -> Checkpoint:
    if options.model == instructblip.UNTRAINED:
        return Checkpoint(cached_untrained_checkpoint(), options.model, None)
    return find_checkpoint(options.model, options.revision)


def test_emulated_device(views, files, prompts, capsys):
    processor = load_processor()
    processor.image_processor.size = {"height": 224, "width": 224}
    with load(EmulatedDevice) as device:
        device._processor.image_processor.size = processor.image_processor.size

        def generate(inputs: dict[str, torch.Tensor]) -> list[str]:
            time.sleep(device.seconds_per_batch * len(inputs["pixel_values"]) / BATCH)
            return fingerprints(inputs["pixel_values"])

        def theirs() -> list[str]:
            return official_loop(files, prompts, processor, generate)

        theirs()  # once unmeasured: the files are in the page cache after it
        preparing_s, _ = timed(theirs)
        device.seconds_per_batch = preparing_s * BATCH / IMAGES
        their_s, our_s, ratio = compare(theirs, lambda: our_stage(views, device))
    with capsys.disabled():
        print(f"\n{IMAGES} pictures of 512 px, batches of {BATCH}, medians of {ROUNDS} rounds")
        print(f"emulated device   official loop {their_s:6.2f} s, ours {our_s:6.2f} s: {ratio:.2f}x of 2")


def test_cpu(views, files, prompts, capsys):
    views, files, prompts = views[: IMAGES // 4], files[: IMAGES // 4], prompts[: IMAGES // 4]
    processor = load_processor()
    with load(instructblip.InstructBlipCaptioner) as captioner:
        model = captioner._model

        def generate(inputs: dict[str, torch.Tensor]) -> list[str]:
            with torch.inference_mode():
                tokens = model.generate(**inputs, **GENERATION, length_penalty=-1.0, do_sample=False)
            return [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]

        def theirs() -> list[str]:
            return official_loop(files, prompts, processor, generate)

        their_s, our_s, ratio = compare(theirs, lambda: our_stage(views, captioner))
        expected = our_stage(views, captioner)
    with load(instructblip.InstructBlipCaptioner, "bfloat16") as captioner:
        agreeing = sum(a == b for a, b in zip(our_stage(views, captioner), expected, strict=True))
    with capsys.disabled():
        print(f"\nCPU, {MODEL}  official loop {their_s:6.2f} s, ours {our_s:6.2f} s: {ratio:.2f}x")
        print(f"bfloat16        {agreeing / len(views):.1%} of its captions equal those of float32")
