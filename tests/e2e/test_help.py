"""Help is for terminals of 80 columns, and shells complete the commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mvcap.cli import app

COMMANDS = sorted(typer.main.get_command(app).commands)
MVCAP = Path(sys.executable).with_name("mvcap")


def help_of(*words: str) -> str:
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    assert told.exit_code == 0
    return told.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_explains_every_option_and_has_an_example(command):
    text = help_of(command)
    assert max(map(len, text.splitlines())) <= 80
    assert "Example: mvcap " in text
    assert re.findall(r"<\w+(?: range)?>", text) == [], "a type of Python's is no help"
    unexplained = [
        option.name
        for option in typer.main.get_command(app).commands[command].params
        if not getattr(option, "help", None)
    ]
    assert unexplained == []
    assert "..." not in [line.strip(" │╭╰─") for line in text.splitlines()], "no text is cut"


def test_the_list_of_commands_fits_too():
    text = help_of()
    assert max(map(len, text.splitlines())) <= 80
    assert [name for name in COMMANDS if f" {name} " not in text] == []
    assert "<bool>" not in text


@pytest.mark.slow
def test_bash_is_told_the_commands_and_options_that_fit():
    def completions(*words: str) -> list[str]:
        environment = {
            **os.environ,
            "_MVCAP_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        ended = subprocess.run(
            [MVCAP], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return sorted(ended.stdout.split())

    assert completions("mvcap", "re") == ["remove", "render", "report", "retry"]
    assert completions("mvcap", "push", "--re") == ["--repo", "--revision"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_the_shell_is_printed(shell):
    environment = {**os.environ, "_MVCAP_COMPLETE": f"source_{shell}"}
    ended = subprocess.run([MVCAP], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert f"complete_{shell}" in ended.stdout
