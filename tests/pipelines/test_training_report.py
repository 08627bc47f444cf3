"""The page of a run tells what is there, and which command makes what is not."""

import html
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from mvcap.errors import OutputError, UsageError
from pipelines.training_report import read_log, report_training
from training.config import TrainingConfig


@pytest.fixture(scope="session")
def doubles() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "training_run.py")))


def words_of(run: Path, evaluations: list[Path] | None = None) -> str:
    """Return the page's text without its markup and scripts."""
    page = report_training(run, evaluations, None).path.read_text("utf-8")
    body = re.sub(r"<script.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_run_that_was_evaluated_has_curves_angles_and_what_is_retained(doubles, tmp_path):
    run = doubles.write_run(tmp_path / "run")
    views = doubles.with_base(doubles.told("views", 0.8), doubles.told("views", 0.64))
    clean = doubles.with_base(
        doubles.told("imagenet", 0.57, posed=False), doubles.told("imagenet", 0.6, posed=False)
    )
    doubles.write_results(run / "eval", views, clean, run="run")
    text = words_of(run)
    assert "4 at first, 0.1 at last" in text
    assert "bank_outliers_agree 0.7 at last" in text
    assert "10% of that spent waiting" in text
    assert "views 20 4,900 64.0 ± 2.0 80.0 ± 2.0 +16.0 ± 2.0 125.0 %" in text
    assert "imagenet 20 4,900 60.0 ± 2.0 57.0 ± 2.0 -3.0 ± 2.0 95.0 %" in text
    assert "75–90° +16 40" in text
    assert "mvcap eval" not in text


def test_a_run_without_log_and_evaluation_names_the_commands(doubles, tmp_path):
    run = doubles.write_run(tmp_path / "my run", steps=0)
    text = words_of(run)
    assert "The log ends at step 0 of 40" in text
    assert "log.jsonl is missing or empty" in text
    assert f"mvcap eval '{run}' --data my_dataset --data imagenet=imagenet/val" in text
    assert "every 5 steps" in text
    plain = doubles.write_run(tmp_path / "plain", bank=False)
    assert "anchors.source=bank logs how well its bank agrees" in words_of(plain)


def test_of_two_logged_steps_neither_is_the_median(doubles, tmp_path):
    run = doubles.write_run(tmp_path / "run", steps=2)
    log = run / "log.jsonl"
    log.write_text(log.read_text().replace('"step_s": 0.5', '"step_s": 9.5', 1))
    assert " 5 s for a step, the median" in words_of(run)


def test_a_run_without_a_recipes_name_is_called_by_its_folder(doubles, tmp_path):
    assert "Training run: ovt " in words_of(doubles.write_run(tmp_path / "my_run"))
    unnamed = doubles.write_run(tmp_path / "my_run", name=TrainingConfig().name)
    assert "Training run: my_run " in words_of(unnamed)


def test_results_of_the_base_are_found_where_they_are_named(doubles, tmp_path):
    run = doubles.write_run(tmp_path / "run")
    own = doubles.write_results(run / "eval", doubles.told("views", 0.8), run="run")
    assert "views: only the tuned model was evaluated" in words_of(run)
    base = doubles.write_results(tmp_path / "base", doubles.told("views", 0.6), run=None)
    text = words_of(run, [own, base])
    assert "60.0 ± 2.0 80.0 ± 2.0 +20.0 133.3 %" in text
    assert "only the" not in text


def test_what_belongs_to_another_run_or_model_is_refused(doubles, tmp_path):
    run = doubles.write_run(tmp_path / "run")
    other = doubles.write_results(tmp_path / "other", run="other")
    with pytest.raises(UsageError, match="of the run other, not of"):
        report_training(run, [other], None)
    foreign = doubles.write_results(tmp_path / "foreign", run=None, model={"model": "RN50"})
    with pytest.raises(UsageError, match=r"RN50.*was tuned from"):
        report_training(run, [foreign], None)
    with pytest.raises(OutputError, match="not a run of `mvcap train`"):
        report_training(tmp_path, None, None)
    with pytest.raises(OutputError, match="no result of `mvcap eval`"):
        report_training(run, [tmp_path / "nothing"], None)


def test_a_torn_line_is_left_out_and_a_step_counts_once(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2, "loss": 3}\n{"step": 1, "loss": 5}\n{"step": 2, "loss": 4}\n{"step": 3, "lo')
    assert read_log(log) == {"loss": [(1, 5.0), (2, 4.0)]}
