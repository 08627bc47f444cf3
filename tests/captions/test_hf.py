"""Small random checkpoints of other architectures: LLaVA (decoder-only), InstructBLIP (with an encoder)."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transformers import AutoProcessor, LlavaForConditionalGeneration

from captions.backends.hf import HfCaptioner, Options, check, create
from captions.checkpoints import weights_sha256
from captions.no_repeat import NoRepeatInContinuation
from mvcap.errors import ModelUnavailableError

Pictures = Callable[[int], Image.Image]
Prompts = Callable[[int], str]


@pytest.fixture(scope="module")
def llava(build_llava: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def captioner(llava: Path) -> Iterator[HfCaptioner]:
    with create(Options(model=str(llava), device="cpu", max_new_tokens=12)) as loaded:
        assert isinstance(loaded, HfCaptioner)
        yield loaded


@pytest.fixture(scope="module")
def work(make_picture: Pictures, make_prompt: Prompts) -> tuple[list[Image.Image], list[str]]:
    """32 pictures with prompts of different lengths."""
    return [make_picture(index) for index in range(32)], [make_prompt(index) for index in range(32)]


@pytest.fixture(scope="module")
def captions(captioner: HfCaptioner, work: tuple[list[Image.Image], list[str]]) -> list[str]:
    return captioner.caption(*work)


def test_captions_equal_the_plain_loop_of_transformers(
    llava: Path, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    model = LlavaForConditionalGeneration.from_pretrained(llava)
    processor = AutoProcessor.from_pretrained(llava, backend="pil")
    for image, prompt, caption in list(zip(*work, captions, strict=True))[:8]:
        content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            **{"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"},
        )
        tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        written = tokens[0, inputs["input_ids"].shape[1] :]
        assert processor.tokenizer.decode(written, skip_special_tokens=True).strip() == caption


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_caption_does_not_depend_on_the_batch(
    captioner: HfCaptioner, captions: list[str], work: tuple[list[Image.Image], list[str]], batch_size: int
):
    images, prompts = work
    assert len(set(captions)) > 16
    assert len({len(prompt.split()) for prompt in prompts}) > 2, "rows of a batch must be padded"
    for start in range(0, 32, batch_size):
        end = start + batch_size
        assert captioner.caption(images[start:end], prompts[start:end]) == captions[start:end]


def test_padding_on_the_wrong_side_would_change_captions(
    captioner: HfCaptioner, captions: list[str], work: tuple[list[Image.Image], list[str]]
):
    assert captioner.identity["padding_side"] == "left"
    tokenizer = captioner._processor.tokenizer
    tokenizer.padding_side = "right"
    try:
        assert captioner.caption(*work) != captions
    finally:
        tokenizer.padding_side = "left"


def test_encoder_decoder_is_padded_on_the_right_and_independent_of_its_batch(
    checkpoint: Path, work: tuple[list[Image.Image], list[str]]
):
    images, prompts = work[0][:6], work[1][:6]
    with create(Options(model=str(checkpoint), device="cpu", max_new_tokens=8)) as captioner:
        assert captioner.identity["padding_side"] == "right"
        together = captioner.caption(images, prompts)
        assert [captioner.caption([i], [p])[0] for i, p in zip(images, prompts, strict=True)] == together
    assert len(set(together)) > 2


def test_template_surrounds_the_prompt_where_the_processor_has_none(
    build_llava: Callable[..., Path],
    llava: Path,
    captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    tmp_path: Path,
):
    folder = build_llava(tmp_path / "plain", chat_template=None)
    template = "USER : <image> {prompt} ASSISTANT :"
    options = Options(model=str(folder), device="cpu", max_new_tokens=12, template=template)
    with create(options) as captioner:
        assert captioner.identity["template"] == template
        assert captioner.caption(work[0][:4], work[1][:4]) == captions[:4]
    with pytest.raises(ValidationError, match=r"must hold \{prompt\}"):
        Options(template="Describe.")


@pytest.fixture(scope="module")
def second_captions(captioner: HfCaptioner, work: tuple[list[Image.Image], list[str]]) -> list[str]:
    return captioner.caption_again(*work)


def loops(caption: str) -> bool:
    """Tell whether three words return; here each token is a word."""
    runs = list(zip(*(caption.split()[start:] for start in range(3)), strict=False))
    return len(runs) != len(set(runs))


@pytest.mark.parametrize("model", ["llava", "checkpoint"])
def test_the_second_decoding_does_not_loop(
    model: str, request: pytest.FixtureRequest, work: tuple[list[Image.Image], list[str]]
):
    images, prompts = work[0][:8], work[1][:8]
    # A penalty below 1 is a reward: the first decoding loops for certain.
    options = Options(model=str(request.getfixturevalue(model)), max_new_tokens=12, repetition_penalty=0.5)
    with create(options) as captioner:
        assert any(map(loops, captioner.caption(images, prompts)))
        assert not any(map(loops, captioner.caption_again(images, prompts)))


def test_the_second_decoding_has_room_to_end_and_says_a_few_words(
    captions: list[str], second_captions: list[str]
):
    first, second = ([len(caption.split()) for caption in some] for some in (captions, second_captions))
    assert min(first) < 4
    assert max(first) == 12
    assert min(second) >= 4, "5 with the end"
    assert 12 < max(second) <= 24


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_second_caption_does_not_depend_on_the_batch(
    captioner: HfCaptioner,
    second_captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    batch_size: int,
):
    images, prompts = work
    for start in range(0, 12, batch_size):
        end = start + batch_size
        assert captioner.caption_again(images[start:end], prompts[start:end]) == second_captions[start:end]


def test_a_second_caption_may_repeat_words_of_the_prompt():
    tokens = torch.tensor([[7, 8, 9]])
    processor = NoRepeatInContinuation(2)
    for written, allowed in (([], True), ([7], True), ([7, 8], True), ([7, 8, 7], False)):
        so_far = torch.cat([tokens, torch.tensor([written], dtype=torch.long)], dim=1)
        scores = processor(so_far, torch.zeros(1, 10))
        assert (scores[0, 8].item() == 0) == allowed, written


def test_both_decodings_are_part_of_the_identity(captioner: HfCaptioner):
    first, second = captioner.identity["generation"], captioner.identity["second_generation"]
    assert {name for name in second if second[name] != first.get(name)} == {
        "max_new_tokens",
        "min_new_tokens",
        "no_repeat_ngram_size_of_new_tokens",
    }


def test_what_the_checkpoint_stores_does_not_leak_into_generation(
    llava: Path, captions: list[str], work: tuple[list[Image.Image], list[str]], tmp_path: Path
):
    folder = shutil.copytree(llava, tmp_path / "odd")
    stored = json.loads((folder / "generation_config.json").read_text())
    stored |= {"no_repeat_ngram_size": 1, "bad_words_ids": [[5], [6]], "temperature": 0.1, "max_length": 3}
    (folder / "generation_config.json").write_text(json.dumps(stored))
    with create(Options(model=str(folder), device="cpu", max_new_tokens=12)) as captioner:
        assert captioner.caption(work[0][:8], work[1][:8]) == captions[:8]


def test_batch_that_exceeds_memory_is_halved(
    llava: Path,
    captions: list[str],
    work: tuple[list[Image.Image], list[str]],
    monkeypatch: pytest.MonkeyPatch,
):
    tried: list[int] = []
    generate = LlavaForConditionalGeneration.generate

    def generate_on_a_small_device(self: object, input_ids: torch.Tensor, **inputs: object) -> torch.Tensor:
        tried.append(len(input_ids))
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(LlavaForConditionalGeneration, "generate", generate_on_a_small_device)
    with create(Options(model=str(llava), device="cpu", max_new_tokens=12)) as captioner:
        assert captioner.caption(work[0][:4], work[1][:4]) == captions[:4]
    assert tried == [4, 2, 2]


def test_identity_holds_the_hash_of_the_weights_and_no_path(captioner: HfCaptioner, llava: Path):
    identity = dict(captioner.identity)
    assert (identity["model"], identity["weights_sha256"]) == ("llava", weights_sha256(llava))
    assert identity["image_processor"] == "CLIPImageProcessorPil"
    assert str(llava.parent) not in json.dumps(identity)


def test_unknown_architecture_and_code_of_its_own_are_refused(llava: Path, tmp_path: Path):
    folder = shutil.copytree(llava, tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "brand-new", "auto_map": {"AutoModel": "modeling.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailableError, match=r"type 'brand-new'.* its own code is never run"):
        check(Options(model=str(folder), device="cpu"))


def test_code_of_a_processor_that_lies_in_the_checkpoint_is_never_run(llava: Path, tmp_path: Path):
    folder, sprung = shutil.copytree(llava, tmp_path / "trap"), tmp_path / "sprung"
    (folder / "processing.py").write_text(f"open({str(sprung)!r}, 'w')\nclass Trap: pass\n")
    own = {"processor_class": "Trap", "auto_map": {"AutoProcessor": "processing.Trap"}}
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            settings = json.loads((folder / name).read_text()) | own
            (folder / name).write_text(json.dumps(settings))
    with pytest.raises(ModelUnavailableError, match="the model trap cannot be loaded, and code that lies"):
        create(Options(model=str(folder), device="cpu"))
    assert not sprung.exists()


def test_missing_file_is_named_before_anything_is_loaded(llava: Path, tmp_path: Path):
    folder = shutil.copytree(llava, tmp_path / "partial")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailableError, match=r"lacks tokenizer\.json"):
        check(Options(model=str(folder), device="cpu"))
