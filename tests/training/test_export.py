"""Tuned models are loaded by the stock libraries and have the features of the model that was trained."""

import subprocess
import sys

import numpy as np
import open_clip
import peft
import pytest
import torch
import transformers
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch.nn import functional as F

from mvcap.errors import DiskFullError, OutputError, UsageError
from training.assembling import make_student
from training.backends.open_clip import Options, create
from training.checkpoints import load_trained
from training.export import export_model
from training.finished import open_tuned
from training.recipes import read_config
from training.runs import create_encoder, load_run, run_training

PADDED = {"padding": "max_length", "truncation": True, "max_length": 24}
TEXTS = ["a red chair", "a cup, seen from above", "2 lamps"]


@pytest.fixture(scope="session")
def tune(small_dataset, small_clip, small_blip, tmp_path_factory):
    """Train a small run once for each way of tuning."""
    made = {}

    def make(backend="open_clip", *more):
        if (backend, more) not in made:
            run = tmp_path_factory.mktemp("run")
            folder = {"hf_clip": small_clip, "blip": small_blip, "open_clip": clip_folder(tmp_path_factory)}[
                backend
            ]
            settings = [
                f"model={{backend: {backend}, options: {{model: {folder}}}}}",
                "data.batch=8",
                "optimiser.steps=3",
                "optimiser.warmup_steps=0",
                "optimiser.learning_rate=0.02",
                "run.loaders=0",
                "run.tensorboard=false",
                "anchors.source=batch",
                *more,
            ]
            run_training(read_config("ovt", settings), small_dataset, run, say=lambda message: None)
            made[backend, more] = run
        return made[backend, more]

    return make


def clip_folder(factory):
    """Write an open_clip model that has all words, so that its tokens mean the same to both libraries."""
    folder = factory.mktemp("clip") / "model"
    encoder = create(Options(model="untrained"))
    torch.manual_seed(3)
    for parameter in (*encoder.image_tower.parameters, *encoder.text_tower.parameters):
        if parameter.ndim >= 2 and len(parameter) < 40_000:
            torch.nn.init.normal_(parameter, std=0.1)  # so that attention matters
    encoder.save(folder)
    return folder


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))


def as_trained(run):
    """Return the student as it was in training, with its additions apart."""
    config, encoder, checkpoint = load_run(run)
    student = make_student(encoder, config)
    load_trained(checkpoint, student)
    return student.eval()


def features(student, picture):
    """Return the encoder's own unit-norm features and those through VIFormer."""
    pixels = torch.from_numpy(np.array(student.encoder.preprocessing.fit(picture))).permute(2, 0, 1)[None]
    with torch.no_grad():
        encoded = student.encode_pictures(pixels)
        return F.normalize(encoded.features, dim=1), student.finish(encoded)


def pretrained(run, picture):
    config, *_ = load_run(run)
    student = as_trained(run)
    student.encoder = create_encoder(config.model)
    return features(student, picture)[0]


def test_open_clip_loads_stock_weights_with_the_same_features(tune, picture, tmp_path):
    run = tune()
    export_model(run, tmp_path / "out", "open_clip")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")
    student = as_trained(run)
    own, through = features(student, picture)
    with torch.no_grad():
        found = model.eval().encode_image(preprocess(picture)[None], normalize=True)
        texts = model.encode_text(tokenizer(TEXTS), normalize=True)
        expected = student.encode_texts(student.encoder.tokenize(TEXTS))
    assert (found - own).abs().max() < 1e-5
    assert (texts - expected).abs().max() < 1e-5
    assert (own - pretrained(run, picture)).abs().max() > 1e-3, "training changed something"
    assert (own - through).abs().max() > 1e-3, "VIFormer does something"
    assert model.logit_scale.item() == pytest.approx(student.logit_scale.item())


@pytest.mark.slow
def test_the_wrapper_beside_it_gives_the_features_that_were_trained_without_mvcap(tune, picture, tmp_path):
    picture.save(tmp_path / "picture.png")
    for attend in ("self", "patches"):
        run = tune("open_clip", f"viformer.attend={attend}")
        export_model(run, tmp_path / attend, "open_clip")
        save_file({"expected": features(as_trained(run), picture)[1]}, tmp_path / f"{attend}.safetensors")
    script = (
        "import sys, torch, open_clip\n"
        "from PIL import Image\n"
        "from safetensors.torch import load_file\n"
        "sys.path.insert(0, 'self')\n"
        "from viformer import WithVIFormer\n"
        "for attend in ('self', 'patches'):\n"
        "    model, _, preprocess = open_clip.create_model_and_transforms(f'local-dir:{attend}')\n"
        "    model = WithVIFormer(model.eval(), attend)\n"
        "    with torch.no_grad():\n"
        "        found = model.encode_image(preprocess(Image.open('picture.png'))[None], normalize=True)\n"
        "    assert model.logit_scale.numel() == 1 and model.encode_text is not None\n"
        "    expected = load_file(f'{attend}.safetensors')['expected']\n"
        "    assert (found - expected).abs().max() < 1e-5, attend\n"
        "assert 'training' not in sys.modules and 'mvcap' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["open_clip", "hf_clip"])
def test_transformers_loads_a_clip_model_with_the_same_features(tune, picture, tmp_path, backend):
    run = tune(backend)
    export_model(run, tmp_path / "out", "transformers")
    model = transformers.CLIPModel.from_pretrained(tmp_path / "out")
    processor = transformers.CLIPProcessor.from_pretrained(tmp_path / "out", backend="pil")
    student = as_trained(run)
    own, _ = features(student, picture)
    square = student.encoder.preprocessing.fit(picture)
    inputs = processor(images=square, text=TEXTS, return_tensors="pt", **PADDED)
    with torch.no_grad():
        outputs = model(**inputs)
        texts = student.encode_texts(student.encoder.tokenize(TEXTS))
    assert (outputs.image_embeds - own).abs().max() < 1e-5
    assert (outputs.text_embeds - texts).abs().max() < 1e-5


def test_a_tuned_blip_is_loaded_by_transformers(tune, picture, tmp_path):
    run = tune("blip")
    export_model(run, tmp_path / "out", "transformers")
    model = transformers.BlipForImageTextRetrieval.from_pretrained(tmp_path / "out")
    student = as_trained(run)
    own, _ = features(student, picture)
    pixels = torch.from_numpy(np.array(student.encoder.preprocessing.fit(picture))).permute(2, 0, 1)[None]
    with torch.no_grad():
        found = model.vision_model(student.encoder.preprocessing.normalise(pixels)).last_hidden_state[:, 0]
        assert (F.normalize(model.vision_proj(found), dim=1) - own).abs().max() < 1e-5
    for layout in ("open_clip", "llava"):
        with pytest.raises(UsageError, match="blip"):
            export_model(run, tmp_path / layout, layout)


@pytest.mark.parametrize(
    ("backend", "text"), [("open_clip", "frozen"), ("open_clip", "lora"), ("hf_clip", "lora")]
)
def test_peft_puts_the_adapter_on_the_pretrained_model(tune, picture, tmp_path, backend, text):
    run = tune(backend, f"tune.text={text}")
    export_model(run, tmp_path / "adapter", "peft")
    export_model(run, tmp_path / "base", "transformers", interpolate=0.0)
    base = transformers.CLIPModel.from_pretrained(tmp_path / "base").eval()
    model = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    student = as_trained(run)
    pixels = torch.from_numpy(np.array(student.encoder.preprocessing.fit(picture))).permute(2, 0, 1)[None]
    with torch.no_grad():
        ids = student.encoder.tokenize(TEXTS)
        outputs = model(pixel_values=student.encoder.preprocessing.normalise(pixels), input_ids=ids)
        texts = student.encode_texts(ids)
    own, _ = features(student, picture)
    assert (outputs.image_embeds - own).abs().max() < 1e-5
    if backend == "hf_clip":  # open_clip's texts end where zeros begin, transformers' where their end is
        assert (outputs.text_embeds - texts).abs().max() < 1e-5


def test_an_adapter_of_blip_is_put_on_the_pretrained_one(tune, picture, small_blip, tmp_path):
    run = tune("blip", "tune.text=lora")
    export_model(run, tmp_path / "adapter", "peft")
    base = transformers.BlipForImageTextRetrieval.from_pretrained(small_blip).eval()
    model = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval().base_model.model
    student = as_trained(run)
    ids = student.encoder.tokenize(TEXTS)
    mask = (ids != student.encoder._loaded.tokenizer.pad_token_id).long()
    with torch.no_grad():
        found = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        texts = F.normalize(model.text_proj(found), dim=1)
        assert (texts - student.encode_texts(ids)).abs().max() < 1e-5


def test_whole_towers_are_no_adapter(tune, tmp_path):
    with pytest.raises(UsageError, match="--format transformers"):
        export_model(tune("open_clip", "tune.image=full"), tmp_path / "out", "peft")


@pytest.mark.parametrize("backend", ["open_clip", "hf_clip"])
def test_llava_takes_the_vision_tower(tune, picture, tmp_path, backend):
    run = tune(backend)
    export_model(run, tmp_path / "tower", "llava")
    tower = transformers.CLIPVisionModel.from_pretrained(tmp_path / "tower").eval()
    text = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=64
    )
    config = transformers.LlavaConfig(vision_config=tower.config, text_config=text, image_token_index=63)
    torch.manual_seed(0)
    llava = transformers.LlavaForConditionalGeneration(config).eval()
    llava.model.vision_tower.load_state_dict(tower.state_dict())
    student = as_trained(run)
    pixels = torch.from_numpy(np.array(student.encoder.preprocessing.fit(picture))).permute(2, 0, 1)[None]
    normalised = student.encoder.preprocessing.normalise(pixels)
    patches = (student.encoder.preprocessing.size // tower.config.patch_size) ** 2
    with torch.no_grad():
        seen = llava.model.vision_tower(normalised, output_hidden_states=True)
        expected = student.encoder.encode_images(normalised, tokens=True).features
        projected = F.normalize(seen.pooler_output @ projection(student).T, dim=1)
        out = llava(input_ids=torch.tensor([[1] + [63] * patches + [2]]), pixel_values=normalised)
    assert (projected - F.normalize(expected, dim=1)).abs().max() < 1e-5
    assert out.logits.isfinite().all()


def projection(student):
    network = student.encoder.network
    return network.visual.proj.T if hasattr(network, "visual") else network.visual_projection.weight


def test_interpolation_is_the_mean_of_the_weights(tune, picture, tmp_path):
    run = tune()
    states = {
        share: open_tuned(run, interpolate=share).encoder.network.state_dict() for share in (0.0, 0.7, 1.0)
    }
    for name, middle in states[0.7].items():
        expected = 0.3 * states[0.0][name] + 0.7 * states[1.0][name]
        assert torch.allclose(middle, expected, atol=1e-6), name
    none = open_tuned(run, interpolate=0.0)
    assert (features(none, picture)[1] - pretrained(run, picture)).abs().max() < 1e-6
    assert open_tuned(run, interpolate=0.7).viformer.alpha == pytest.approx(0.07)
    export_model(run, tmp_path / "out", "open_clip", interpolate=0.7)
    model, *_ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    assert all(torch.equal(value, states[0.7][name]) for name, value in model.state_dict().items())


def test_an_export_is_there_as_a_whole_or_not_at_all(tune, tmp_path, monkeypatch):
    run = tune()

    def full(*anything):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("training.export.extra.save_file", full)
    with pytest.raises(DiskFullError, match="clip"):
        export_model(run, tmp_path / "clip", "open_clip")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(tune, tmp_path):
    run = tune()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="holds something"):
        export_model(run, tmp_path / "file", "open_clip")
    with pytest.raises(OutputError, match="cannot write to"):
        export_model(run, tmp_path / "file" / "out", "open_clip")
    (tmp_path / "empty").mkdir()
    export_model(run, tmp_path / "empty", "open_clip")
    assert (tmp_path / "empty" / "open_clip_config.json").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(OutputError, match="holds something"):
        export_model(run, tmp_path / "full", "open_clip")
    with pytest.raises(UsageError, match=r"outside \[0, 1\]"):
        export_model(run, tmp_path / "out", "open_clip", interpolate=1.5)
    with pytest.raises(UsageError, match="valid: llava"):
        export_model(run, tmp_path / "out", "onnx")
    with pytest.raises(UsageError, match="transformers"):
        export_model(tune("hf_clip"), tmp_path / "out", "open_clip")
