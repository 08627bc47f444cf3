"""The real captioning code on the small untrained model."""

import json
import pickle
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydantic
import pytest
import safetensors.torch
import torch
import transformers
from PIL import Image
from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor

from captions.backends import instructblip
from captions.backends.instructblip import InstructBlipCaptioner, Options, check, create
from captions.checkpoints import weights_sha256
from mvcap.errors import DeviceFaultError, ModelUnavailableError

Pictures = Callable[[int], Image.Image]
Prompts = Callable[[int], str]


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return shutil.copytree(checkpoint, tmp_path / "model")


@pytest.fixture(scope="module")
def work(make_picture: Pictures, make_prompt: Prompts) -> tuple[list[Image.Image], list[str]]:
    """64 pictures with prompts of different lengths."""
    return [make_picture(i) for i in range(64)], [make_prompt(i) for i in range(64)]


@pytest.fixture(scope="module")
def captions(captioner: InstructBlipCaptioner, work: tuple[list[Image.Image], list[str]]) -> list[str]:
    """Their captions in one batch."""
    return captioner.caption(*work)


def caption_with(folder: Path, images: list[Image.Image], prompts: list[str], **options: object) -> list[str]:
    settings = Options.model_validate({"model": str(folder), "device": "cpu", **options})
    with create(settings) as captioner:
        return captioner.caption(images, prompts)


def test_captions_equal_the_official_loop_with_the_settings_of_the_paper(
    checkpoint: Path, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    model = InstructBlipForConditionalGeneration.from_pretrained(checkpoint)
    processor = InstructBlipProcessor.from_pretrained(checkpoint, backend="pil")
    paper = {"num_beams": 5, "max_new_tokens": 32, "min_length": 1, "repetition_penalty": 1.5}
    for image, prompt, caption in list(zip(*work, captions, strict=True))[:12]:
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        tokens = model.generate(**inputs, **paper, length_penalty=-1.0, do_sample=False)
        assert processor.batch_decode(tokens, skip_special_tokens=True)[0].strip() == caption


@pytest.mark.filterwarnings("error::FutureWarning")
def test_nothing_that_transformers_will_drop_is_used(
    captioner: InstructBlipCaptioner, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    assert captioner.caption(work[0][:1], work[1][:1]) == captions[:1]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_caption_does_not_depend_on_the_batch(
    captioner: InstructBlipCaptioner,
    captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    batch_size: int,
):
    images, prompts = work
    assert len({len(prompt) for prompt in prompts}) > 3, "rows of a batch must be padded"
    for start in range(0, len(images) if batch_size > 1 else 32, batch_size):
        end = start + batch_size
        assert captioner.caption(images[start:end], prompts[start:end]) == captions[start:end]


def test_caption_does_not_depend_on_the_order(
    captioner: InstructBlipCaptioner, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    order = np.random.default_rng(0).permutation(64)
    images, prompts = work
    shuffled = captioner.caption([images[i] for i in order], [prompts[i] for i in order])
    assert shuffled == [captions[i] for i in order]


def test_prepared_picture_gives_the_same_caption(
    captioner: InstructBlipCaptioner, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    images, prompts = work
    assert captioner.caption([captioner.prepare(image) for image in images[:8]], prompts[:8]) == captions[:8]


def test_what_the_model_gets_equals_what_the_official_processor_makes(
    checkpoint: Path, work: tuple[list[Image.Image], list[str]], monkeypatch: pytest.MonkeyPatch
):
    given: dict[str, torch.Tensor] = {}
    generate = InstructBlipForConditionalGeneration.generate

    def noting_its_inputs(self: object, **inputs: object) -> torch.Tensor:
        given.update({name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)})
        return generate(self, **inputs)

    monkeypatch.setattr(InstructBlipForConditionalGeneration, "generate", noting_its_inputs)
    images, prompts = work[0][:8], [*work[1][:7], "zebra crossing " * 100]
    caption_with(checkpoint, images, prompts, max_new_tokens=1)
    processor = InstructBlipProcessor.from_pretrained(checkpoint, backend="pil")
    options = {"padding": "longest", "truncation": True, "max_length": 128 + processor.num_query_tokens}
    expected = processor(images=images, text=prompts, return_tensors="pt", **options)
    assert given.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(given[name], tensor), name


def test_captions_depend_on_the_picture(
    captioner: InstructBlipCaptioner, make_picture: Pictures, make_prompt: Prompts
):
    captions = captioner.caption([make_picture(i) for i in range(16)], [make_prompt(0)] * 16)
    assert len(set(captions)) >= 8
    plain = [Image.new("RGB", (96, 96), colour) for colour in ("red", "lime", "blue")]
    assert len(set(captioner.caption(plain, [make_prompt(0)] * 3))) == 3


def test_captions_depend_on_the_prompt(
    captioner: InstructBlipCaptioner, make_picture: Pictures, make_prompt: Prompts
):
    captions = captioner.caption([make_picture(0)] * 6, [make_prompt(i) for i in range(6)])
    assert len(set(captions)) >= 4


def test_no_caption_is_empty(captions: list[str]):
    assert all(captions)


@pytest.mark.parametrize(
    "setting",
    [{"num_beams": 1}, {"repetition_penalty": 1.0}, {"length_penalty": 2.0}, {"min_length": 8}],
    ids=str,
)
def test_setting_reaches_generate(
    checkpoint: Path,
    captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    setting: dict[str, object],
):
    changed = caption_with(checkpoint, work[0][:16], work[1][:16], **setting)
    assert changed != captions[:16]
    if "min_length" in setting:
        assert min(len(caption.split()) for caption in changed) >= 6, "8 with the start and the end"


def test_max_new_tokens_cuts_captions(
    checkpoint: Path, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    short = caption_with(checkpoint, work[0][:16], work[1][:16], max_new_tokens=3)
    assert max(len(caption.split()) for caption in short) == 3
    assert max(len(caption.split()) for caption in captions[:16]) > 3


@pytest.fixture(scope="module")
def second_captions(captioner: InstructBlipCaptioner, work: tuple[list[Image.Image], list[str]]) -> list[str]:
    """The captions of the second decoding, in one batch."""
    return captioner.caption_again(*work)


def test_the_second_decoding_does_not_loop_and_says_a_few_words(
    captions: list[str], second_captions: list[str]
):
    def loops(caption: str) -> bool:
        pairs = list(pairwise(caption.split()))
        return len(pairs) != len(set(pairs))

    assert any(map(loops, captions)), "an untrained model repeats itself"
    assert not any(map(loops, second_captions))
    assert min(len(caption.split()) for caption in captions) < 4
    assert min(len(caption.split()) for caption in second_captions) >= 4, "6 with the start and the end"


def test_the_second_decoding_gives_a_cut_caption_room_to_end(
    checkpoint: Path, work: tuple[list[Image.Image], list[str]]
):
    options = Options(model=str(checkpoint), device="cpu", max_new_tokens=5, length_penalty=2.0)
    with create(options) as captioner:
        first = captioner.caption(work[0][:16], work[1][:16])
        again = captioner.caption_again(work[0][:16], work[1][:16])
    assert max(len(caption.split()) for caption in first) == 5
    assert 5 < max(len(caption.split()) for caption in again) <= 10


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_second_caption_does_not_depend_on_the_batch(
    captioner: InstructBlipCaptioner,
    second_captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    batch_size: int,
):
    images, prompts = work
    for start in range(0, 16, batch_size):
        end = start + batch_size
        assert captioner.caption_again(images[start:end], prompts[start:end]) == second_captions[start:end]


def test_both_decodings_are_part_of_the_identity(captioner: InstructBlipCaptioner):
    first, second = captioner.identity["generation"], captioner.identity["second_generation"]
    assert {name for name in first if first[name] != second[name]} == {
        "no_repeat_ngram_size",
        "max_new_tokens",
        "min_length",
    }


def test_what_the_checkpoint_stores_does_not_leak_into_generation(
    folder: Path, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    stored = {"max_length": 3, "no_repeat_ngram_size": 1, "bad_words_ids": [[5], [6], [60]], "top_k": 2}
    (folder / "generation_config.json").write_text(json.dumps(stored))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"].update(stored)
    (folder / "config.json").write_text(json.dumps(config))
    assert caption_with(folder, work[0][:16], work[1][:16]) == captions[:16]


def test_one_prompt_for_many_pictures_is_refused(captioner: InstructBlipCaptioner, make_picture: Pictures):
    with pytest.raises(ValueError, match="shorter"):
        captioner.caption([make_picture(0), make_picture(1)], ["one prompt"])


def test_no_picture_gives_no_caption(captioner: InstructBlipCaptioner):
    assert captioner.caption([], []) == []


def test_overlong_prompt_is_cut_and_not_a_crash(captioner: InstructBlipCaptioner, make_picture: Pictures):
    assert captioner.caption([make_picture(0)], ["zebra crossing " * 500])[0]


def test_left_padding_is_refused(checkpoint: Path, tmp_path: Path):
    for name in ("tokenizer_config.json", "qformer_tokenizer/tokenizer_config.json"):
        folder = shutil.copytree(checkpoint, tmp_path / name.replace("/", "-"))
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**settings, "padding_side": "left"}))
        with pytest.raises(ModelUnavailableError, match="pads on the left"):
            create(Options(model=str(folder), device="cpu"))


def test_batch_that_exceeds_memory_is_halved_and_remembered(
    checkpoint: Path,
    captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    monkeypatch: pytest.MonkeyPatch,
):
    tried: list[int] = []
    generate = InstructBlipForConditionalGeneration.generate

    def generate_on_a_small_device(
        self: object, pixel_values: torch.Tensor, **arguments: object
    ) -> torch.Tensor:
        tried.append(len(pixel_values))
        if len(pixel_values) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(self, pixel_values, **arguments)

    monkeypatch.setattr(InstructBlipForConditionalGeneration, "generate", generate_on_a_small_device)
    with create(Options(model=str(checkpoint), device="cpu")) as captioner:
        assert captioner.caption(work[0][:8], work[1][:8]) == captions[:8]
        assert tried == [8, 4, 2, 2, 2, 2]
        captioner.caption(work[0][:3], work[1][:3])
        assert tried[6:] == [2, 1]


@pytest.mark.parametrize("fault", ["CUDA error: an illegal memory access was encountered", "an odd shape"])
def test_fault_of_the_device_is_told_from_an_error_of_the_model(
    captioner: InstructBlipCaptioner,
    work: tuple[list[Image.Image], list[str]],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
):
    def fail(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError(f"{fault}\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(InstructBlipForConditionalGeneration, "generate", fail)
    expected = DeviceFaultError if "CUDA" in fault else RuntimeError
    with pytest.raises(expected, match=fault) as raised:
        captioner.caption(work[0][:1], work[1][:1])
    assert isinstance(raised.value, DeviceFaultError) == ("CUDA" in fault)


class Trap:
    """Unpickling an instance leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    settings = Options(model=str(folder), device="cpu")
    for refuse in (check, create):
        with pytest.raises(ModelUnavailableError, match="is a pickle, which mvcap never loads"):
            refuse(settings)
    assert not (tmp_path / "sprung").exists()


def test_missing_weights_are_not_filled_with_noise(folder: Path):
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    del weights["qformer.encoder.layer.1.attention.attention.key.weight"]
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnavailableError, match=r"lacks 1 weights .* qformer\.encoder\.layer\.1"):
        create(Options(model=str(folder), device="cpu"))


def test_identity_of_a_folder_holds_its_hash_and_no_path(captioner: InstructBlipCaptioner, checkpoint: Path):
    identity = dict(captioner.identity)
    assert identity["weights_sha256"] == weights_sha256(checkpoint)
    assert (identity["model"], identity["commit"], identity["untrained"]) == ("small", None, False)
    assert (identity["dtype"], identity["device"], identity["image_backend"]) == ("float32", "cpu", "pil")
    assert identity["generation"] == {
        "num_beams": 5,
        "max_new_tokens": 32,
        "min_length": 1,
        "repetition_penalty": 1.5,
        "length_penalty": -1.0,
        "do_sample": False,
        "early_stopping": False,
        "no_repeat_ngram_size": 0,
        "num_return_sequences": 1,
        "use_cache": True,
    }
    assert str(checkpoint.parent) not in json.dumps(identity)


def test_model_named_untrained_is_built_in_the_cache_and_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    captions: list[str],
    work: tuple[list[Image.Image], list[str]],
):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path))
    settings = Options(model="untrained", device="cpu")
    check(settings)
    assert list(tmp_path.iterdir()) == [], "a check builds nothing"
    with create(settings) as captioner:
        assert captioner.identity["untrained"] is True
        assert captioner.identity["model"] == "untrained"
        assert captioner.caption(work[0][:4], work[1][:4]) == captions[:4]


def test_bfloat16_runs_and_is_recorded(checkpoint: Path, make_picture: Pictures, make_prompt: Prompts):
    with create(Options(model=str(checkpoint), device="cpu", dtype="bfloat16")) as captioner:
        assert captioner.identity["dtype"] == "bfloat16"
        assert captioner.caption([make_picture(0)], [make_prompt(0)])[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_missing_gpu_is_found_by_the_check():
    with pytest.raises(ModelUnavailableError, match="torch sees no GPU"):
        check(Options(model="untrained", device="cuda"))


@pytest.mark.parametrize(
    "option", [{"do_sample": True}, {"dtype": "float16"}, {"num_beam": 5}, {"num_beams": 0}], ids=str
)
def test_option_that_would_harm_is_refused(option: dict[str, object]):
    with pytest.raises(pydantic.ValidationError):
        Options.model_validate(option)


def test_loading_leaves_the_logging_of_transformers_as_it_was(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
):
    verbosity = transformers.logging.get_verbosity()
    create(Options(model=str(checkpoint), device="cpu")).close()
    assert transformers.logging.get_verbosity() == verbosity
    assert transformers.logging.is_progress_bar_enabled()
    assert capfd.readouterr().err == ""


def test_check_of_the_default_model_asks_the_hub_for_the_one_of_the_paper(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(instructblip, "check_model", lambda model, revision: asked.append((model, revision)))
    check(Options())
    assert asked == [("Salesforce/instructblip-flan-t5-xl", None)]
