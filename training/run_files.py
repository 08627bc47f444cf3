"""Names of the files that a run consists of: see `training.runs` and `training.evaluation.reporting`."""

from typing import Final

RUN: Final = "run.json"
LOG: Final = "log.jsonl"
EVALUATION: Final = "eval"
"""Folder that `mvcap eval` writes to where no other is named."""
RESULTS: Final = "results.json"
