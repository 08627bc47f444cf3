"""The loop: one process, several that torchrun started, or workers of Ray Train; the same function.

Notation: B batch of one process, A batch of all, D embedding.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mvcap.quantities import quantity
from mvcap.signals import Noted, Stopped, noting
from training import checkpoints, gradients
from training.assembling import choose_device, choose_dtype, compiled, make_batches, make_student
from training.batches import Batch, Pixels
from training.config import TrainingConfig
from training.data import TrainingData
from training.distributed import World
from training.divergence import divergence
from training.dual_encoder import DualEncoder, Encoded
from training.loading import ahead
from training.logs import Advance, last_figures, open_sinks, showing
from training.maximising import AnchorKeeper
from training.objective import Objective, Parts, Rows
from training.optimiser import learning_rate, make_optimiser, set_learning_rate
from training.student import Student
from training.text_features import TextFeatures
from training.tuning import trainable_parameters


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a run."""

    steps: int
    checkpoint: Path
    figures: Mapping[str, float]
    """Of the last step."""


class Trainer:
    """A run in memory.

    Args:
        run: its folder; the leader alone writes there.
        facts: what a checkpoint has to agree with.
    """

    def __init__(
        self,
        config: TrainingConfig,
        encoder: DualEncoder,
        data: TrainingData,
        run: Path,
        world: World,
        *,
        facts: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self._config, self._data, self._run, self._world = config, data, run, world
        self._facts, self._say = dict(facts), say
        self._device = choose_device(config.run.device, world)
        self._dtype = choose_dtype(config.run.precision, self._device)
        pretrained = copy.deepcopy(encoder) if config.loss.distillation.weight else None
        self.student = make_student(encoder, config).to(self._device)
        self._pretrained: Student | None = None
        if pretrained is not None:
            self._pretrained = Student(pretrained, None).to(self._device).requires_grad_(False).eval()
        self._optimiser = make_optimiser(self.student, config.optimiser)
        self._texts = TextFeatures(
            self.student, data.captions, frozen=config.tune.text == "frozen", device=self._device
        )
        self._objective = Objective(config.loss, config.anchors, world)
        if config.run.checkpoint_activations:
            encoder.checkpoint_activations()
        self._encode: Callable[[Tensor], Encoded] = self.student.encode_pictures
        if config.run.compile:
            self._encode = compiled(self.student, config.run.compile)
        if self._device.type == "cuda" and config.run.tf32:
            torch.set_float32_matmul_precision("high")
        self._batches = make_batches(config, data, encoder.preprocessing, world)
        self._keeper = self._make_keeper()
        self._noted = Noted()

    def _make_keeper(self) -> AnchorKeeper | None:
        settings, config = self._config.anchors, self._config
        if not config.loss.wants_anchors or settings.source == "batch":
            return None
        pixels = self._batches.views
        if not settings.augmented:
            pixels = Pixels(pixels.pictures, pixels.preprocessing)
        return AnchorKeeper(
            settings,
            self._data,
            pixels,
            self._embed,
            width=self.student.encoder.width,
            run=self._run,
            world=self._world,
            device=self._device,
            at_once=config.run.micro_batch or max(1, config.data.batch // self._world.size),
            every_steps=settings.every_steps or self._batches.sampler.batches_per_epoch,
            loaders=config.run.loaders,
        )

    def train(self, resume_from: checkpoints.Checkpoint | None) -> Summary:
        """Do all steps that are left.

        SIGINT and SIGTERM end it after a step, with a checkpoint of that step.

        Raises:
            Stopped: by a signal.
            TrainingDivergedError: a loss or gradient is not finite; the latest checkpoint stays as it is.
        """
        config, total = self._config.run, self._config.optimiser.steps
        if resume_from is not None and resume_from.step >= total:  # a finished run is left as it is
            return Summary(total, resume_from.folder, last_figures(self._run))
        done = 0
        if resume_from is not None:
            done = resume_from.step
            checkpoints.restore(resume_from, self.student, self._optimiser)
            if self._keeper:
                self._keeper.restore(resume_from.folder)
        figures: dict[str, float] = {}
        saved = done
        with ExitStack() as stack:
            self._noted = stack.enter_context(noting())
            loading = ahead(
                self._batches, range(done, total), loaders=config.loaders, pin=self._device.type == "cuda"
            )
            sinks = (
                stack.enter_context(open_sinks(self._run, done, config, self._config.model_dump(mode="json")))
                if self._world.leads
                else []
            )
            advance = stack.enter_context(self._progress(total, done))
            for step in range(done, total):
                try:
                    refreshed = self._keeper.refresh(step) if self._keeper else {}
                except Stopped:  # anchors are made anew when the run goes on with this step
                    if step > saved:
                        self._save(step)
                    raise
                begun = time.monotonic()
                batch = next(loading)
                waited_s = time.monotonic() - begun
                parts, norm = self._step(step, batch)
                figures = refreshed
                if (step + 1) % config.log_every == 0 or refreshed or step + 1 == total:
                    figures = {
                        **self._figures(step, parts, norm),
                        **refreshed,
                        "step_s": time.monotonic() - begun,
                        "waited_s": waited_s,
                    }
                    for sink in sinks:
                        sink.write(step + 1, figures)
                    advance(step + 1, f"loss {figures['loss']:.4f}")
                asked = self._asked()
                if (step + 1) % config.checkpoint_every == 0 or step + 1 == total or asked:
                    self._save(step + 1)
                    saved = step + 1
                if asked and step + 1 < total:
                    raise Stopped(asked)
        return Summary(total, self._run / "checkpoints" / f"step-{total:08d}", figures)

    def _asked(self) -> int:
        """Return the signal by which any process was asked to stop, to all of them alike; 0 without one."""
        number = self._noted.number or 0
        return int(self._world.total(number) and (number or SIGTERM))

    def _step(self, step: int, batch: Batch) -> tuple[Parts, float]:
        """Do one step; return the parts of its loss and the norm of its gradient.

        What is random in it depends on the seed, the step and the process alone, so that a resumed run drops
        out the same.
        """
        self.student.train()
        entropy = [self._config.seed, step, self._world.rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        rows = self._rows(batch)
        pixels = batch.pixels.to(self._device, non_blocking=True)
        texts = self._text_features(rows.captions)
        pretrained = self._pretrained_features(pixels)
        kept: dict[str, Any] = {}

        def loss(encoded: Encoded) -> Tensor:
            features = self.student.finish(encoded, rows.objects)
            kept["features"] = features.detach()
            kept["parts"] = self._objective(
                features,
                texts,
                rows,
                self.student.inverse_temperature(),
                anchors=self._keeper.look_up if self._keeper else None,
                pretrained=pretrained,
            )
            total: Tensor = kept["parts"].total
            return total

        set_learning_rate(self._optimiser, learning_rate(step, self._config.optimiser))
        self._optimiser.zero_grad(set_to_none=True)
        value = gradients.backward(pixels, self._autocast, loss, micro_batch=self._config.run.micro_batch)
        trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        self._world.average_gradients(trained)
        clip = self._config.optimiser.clip
        norm = float(torch.nn.utils.clip_grad_norm_(trained, clip if clip is not None else math.inf))
        if not (math.isfinite(norm) and math.isfinite(float(value))):
            raise divergence(self._run, self._world.rank, step, self._keys(batch), kept["parts"], norm)
        self._optimiser.step()
        self.student.limit_temperature()
        if self._keeper and len(batch.views):
            self._note(batch, kept["features"])
        parts: Parts = kept["parts"]
        return parts, norm

    def _note(self, batch: Batch, features: Tensor) -> None:
        """Give the features of all processes' views to the bank, where there is one."""
        if self._keeper and self._config.anchors.source == "bank":
            views = self._world.gather(batch.views.to(self._device))
            self._keeper.note(views, self._world.gather(features[: len(batch.views)].contiguous()))

    def _rows(self, batch: Batch) -> Rows:
        views, clean = batch.views, batch.clean
        objects = torch.cat([self._data.view_objects[views], len(self._data.counts) + clean])
        captions = torch.cat([self._data.view_captions[views], self._data.clean_captions[clean]])
        is_view = torch.arange(len(objects)) < len(views)
        outliers = torch.zeros(len(objects), dtype=torch.bool)
        if self._keeper:
            outliers[: len(views)] = self._keeper.outliers[views]
        return Rows(*(values.to(self._device) for values in (objects, captions, is_view, outliers)))

    def _text_features(self, captions: Tensor) -> Tensor:
        """Return (B, D), zeros for rows without a caption."""
        captioned = (captions >= 0).nonzero().squeeze(1)
        features = torch.zeros(len(captions), self.student.encoder.width, device=self._device)
        if not len(captioned):
            return features
        with self._precision():
            found = self._texts(captions[captioned])
        return features.index_copy(0, captioned, found)

    def _pretrained_features(self, pixels: Tensor) -> Tensor | None:
        if self._pretrained is None:
            return None
        with torch.no_grad(), self._precision():
            found: Tensor = F.normalize(self._pretrained.encode_pictures(pixels).features.float(), dim=1)
            return found

    @contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            yield

    def _autocast(self, pixels: Tensor) -> Encoded:
        with self._precision():
            return self._encode(pixels)

    def _embed(self, pixels: Tensor) -> Tensor:
        """Return (B, D) features of pixels as the model is now.

        Raises:
            Stopped: by a signal: to encode all views takes long.
        """
        if asked := self._asked():
            raise Stopped(asked)
        self.student.eval()
        with torch.no_grad():
            return self.student.finish(self._autocast(pixels.to(self._device, non_blocking=True)))

    def _figures(self, step: int, parts: Parts, norm: float) -> dict[str, float]:
        """Collect what is told of a step; all processes take part."""
        shared = {
            name: self._world.total(float(value)) / self._world.size for name, value in parts.values.items()
        }
        total = self._world.total(parts.value) / self._world.size
        return {
            "loss": total,
            **shared,
            "learning_rate": learning_rate(step, self._config.optimiser),
            "inverse_temperature": self.student.inverse_temperature().item(),
            "gradient_norm": norm,
            "epoch": (step + 1) / self._batches.sampler.batches_per_epoch,
        }

    def _keys(self, batch: Batch) -> list[str]:
        """Name the pictures of a batch."""
        keys = [self._data.views.key(row) for row in batch.views.tolist()]
        if self._data.clean is not None:
            keys += [self._data.clean.key(row) for row in batch.clean.tolist()]
        return keys

    def _save(self, step: int) -> None:
        if self._world.leads:
            checkpoints.save_checkpoint(
                self._run,
                step,
                self.student,
                self._optimiser,
                self._facts,
                further=self._keeper.save if self._keeper else None,
            )
            checkpoints.forget_old(self._run, self._config.run.checkpoints, step=step)
        self._world.wait()

    @contextmanager
    def _progress(self, total: int, done: int) -> Iterator[Advance]:
        if not self._world.leads:
            yield lambda step, words: None
            return
        self._say(
            f"{trainable_parameters(self.student):,} trainable parameters, "
            f"{quantity(len(self._data.counts), 'object')}, "
            f"{quantity(len(self._data.view_objects), 'view')}, "
            f"{quantity(self._batches.sampler.batches_per_epoch, 'step')} an epoch, {total - done:,} to go"
        )
        if (warmup := self._config.optimiser.warmup_steps) >= total:
            self._say(
                f"the learning rate will not get beyond its warm-up: optimiser.warmup_steps={warmup}, "
                f"optimiser.steps={total}"
            )
        with showing(total, done) as advance:
            yield advance
