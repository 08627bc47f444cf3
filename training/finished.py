"""A tuned model as it is used: merged, in evaluation mode, as near to the pretrained one as one likes."""

from pathlib import Path

import torch

from mvcap.errors import UsageError
from training import lora
from training.assembling import make_student
from training.checkpoints import load_trained
from training.runs import load_run
from training.student import Student


def require_share(interpolate: float) -> None:
    """Refuse what is no share of the tuned weights.

    Raises:
        UsageError: it is outside [0, 1].
    """
    if not 0 <= interpolate <= 1:  # NaN neither
        raise UsageError(
            f"--interpolate {interpolate} is outside [0, 1]: 1 is the tuned model, 0 the pretrained"
        )


def open_tuned(run: Path, *, interpolate: float = 1.0) -> Student:
    """Return a run's latest model with stock keys, on the CPU.

    Args:
        interpolate: share of the tuned weights in a mean with the pretrained ones (WiSE-FT's alpha): 1 is the
            tuned model, 0 the pretrained one. VIFormer, which the pretrained model has not, gets this share
            of its weight in the blend.

    Raises:
        UsageError: `interpolate` is no share.
        OutputError: the folder holds no run, or no checkpoint yet.
        MvcapError: the pretrained model cannot be had, or is another one than was tuned.
    """
    require_share(interpolate)
    config, encoder, checkpoint = load_run(run)
    pretrained_scale = encoder.logit_scale.detach().clone()
    before = {name: value.clone() for name, value in encoder.network.state_dict().items()}
    student = make_student(encoder, config)
    load_trained(checkpoint, student)
    lora.merge(encoder.network)
    if interpolate < 1.0:
        with torch.no_grad():
            for name, value in encoder.network.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(before[name], 1 - interpolate)
            if not any(parameter is student.logit_scale for parameter in encoder.network.parameters()):
                student.logit_scale.lerp_(pretrained_scale, 1 - interpolate)
        if student.viformer is not None:
            student.viformer.alpha *= interpolate
    return student.requires_grad_(False).eval()
