"""What a person at a terminal relies on: completion by the shell itself, colours, tracebacks, exit codes."""

from __future__ import annotations

import argparse
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper import cli
from keeper.core.errors import ConfigError

KEEPER = (sys.executable, "-m", "keeper")
ROOT = Path(__file__).parents[2]
PLAIN = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}


def keeper(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KEEPER, *arguments], capture_output=True, text=True, timeout=60, env=PLAIN | environment)


# --- completion -------------------------------------------------------------------------------------------------------

ASKS = r"""
source /dev/stdin <<<"$SCRIPT"
for asked in "keeper hea" "keeper health --me" "keeper calls ex" "keeper calls export --format " \
    "keeper run --config pyp"
do
    COMP_LINE=$asked COMP_POINT=${#asked} COMPREPLY=()
    read -ra COMP_WORDS <<<"$asked"
    [[ $asked == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    function=$(complete -p keeper | sed 's/.*-F \([^ ]*\).*/\1/')
    $function keeper "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    echo "$asked: ${COMPREPLY[*]}"
done
"""


def test_bash_completes_commands_actions_options_choices_and_files():
    script = keeper("completion", "bash").stdout
    told = subprocess.run(
        ["bash", "--norc", "-c", ASKS], capture_output=True, text=True, cwd=ROOT, env=PLAIN | {"SCRIPT": script}
    )
    assert told.stderr == ""
    assert told.stdout.splitlines() == [
        "keeper hea: health",
        "keeper health --me: --metrics",
        "keeper calls ex: export",
        "keeper calls export --format : csv jsonl html",
        "keeper run --config pyp: pyproject.toml",
    ]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script(shell: str, tmp_path: Path):
    """The shell's own parser, where it is installed, and every command is in it in any case."""
    script = tmp_path / f"keeper.{shell}"
    script.write_text(keeper("completion", shell).stdout)
    told = set(re.findall(r"[a-z]+", script.read_text()))
    assert _commands() <= told
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed; the words were checked, not the script")
    read = subprocess.run([program, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def _commands() -> set[str]:
    (choices,) = (action.choices for action in cli.build_parser()._actions if action.metavar == "command")
    assert choices is not None
    return set(choices)


def test_a_shell_that_is_not_known_is_wrong_usage():
    told = keeper("completion", "csh")
    assert told.returncode == 2
    assert "'bash', 'zsh', 'fish'" in told.stderr


# --- colours ----------------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What the command says on stderr and stdout when both are a terminal."""
    master, terminal = pty.openpty()
    subprocess.run(
        [*KEEPER, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        timeout=60,
        env=PLAIN | {"TERM": "xterm-256color"} | environment,
    )
    os.close(terminal)
    said = b"".join(_whole(master))
    os.close(master)
    return said.decode()


def _whole(master: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # nobody holds the other end any more
            return
        if not part:
            return
        yield part


COLOR = re.compile(r"\x1b\[[0-9;]*m")
LOGS = """
import structlog

from keeper.observe import configure
from keeper.terminal import console
configure("console")
structlog.get_logger("keeper").warning("price_turned_stale", asset="WETH")
console().print("[red]urgent[/]")
"""


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colors_are_for_terminals_that_want_them(
    environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
):
    """Log lines and tables alike; NO_COLOR as no-color.org has it."""
    monkeypatch.setattr(sys.modules[__name__], "KEEPER", (sys.executable, "-c", LOGS))
    said = on_a_terminal(**environment)
    assert "price_turned_stale" in said
    assert "urgent" in said
    assert bool(COLOR.search(said)) is colored


# --- errors and exit codes --------------------------------------------------------------------------------------------


def defect(_: argparse.Namespace) -> int:
    return {}["what nobody thought of"]


def refusal(_: argparse.Namespace) -> int:
    raise ConfigError("min_profit is -1; give 0 or more")


def test_a_defect_says_what_and_where_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Without -v no traceback; with it, all of it. Either way exit 1 and the request to report it."""
    monkeypatch.setattr(cli, "_health", defect)
    assert cli.main(["health"]) == 1
    short = capsys.readouterr().err
    assert cli.main(["health", "-v"]) == 1
    long = capsys.readouterr().err
    assert short.startswith("keeper: KeyError: 'what nobody thought of' (")
    assert "test_terminal.py:" in short
    assert "Traceback" not in short
    assert "with what the same command says with -v" in short
    assert "Traceback" in long
    assert len(short.splitlines()) == 2


def test_a_daemon_that_crashes_leaves_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Nobody can ask it to crash again, so its log has all that was known."""
    monkeypatch.setattr(cli, "_run", defect)
    assert cli.main(["run"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_expected_error_is_its_own_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(cli, "_health", refusal)
    assert cli.main(["health"]) == 1
    assert capsys.readouterr().err == "keeper: min_profit is -1; give 0 or more\n"


def interrupted(_: argparse.Namespace) -> int:
    raise KeyboardInterrupt


def test_exit_codes_are_those_that_help_and_the_documentation_name(monkeypatch: pytest.MonkeyPatch):
    for command, code in ((lambda _: 0, 0), (refusal, 1), (interrupted, 130)):
        monkeypatch.setattr(cli, "_health", command)
        assert cli.main(["health"]) == code
    assert keeper("health", "--no-such-option").returncode == 2
    assert " ".join(keeper("--help").stdout.split()).endswith(cli.EXIT_CODES)
    documented = re.findall(r"^\| `(\d+)` \|", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE)
    assert documented == re.findall(r"\d+", cli.EXIT_CODES)


# --- streams that were closed -----------------------------------------------------------------------------------------


def closed(number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command without one of its standard streams, as `keeper … >&-` starts it."""
    line = f'exec "$@" {number}{"<" if number == 0 else ">"}&-'
    return subprocess.run(
        ["sh", "-c", line, "sh", *KEEPER, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stream_that_was_closed_is_as_one_that_nobody_reads(number: int, tmp_path: Path):
    """Supervisors and scripts close them. What fails then fails for its own reason."""
    assert closed(number, "--version").returncode == 0
    told = closed(number, "health", "--config", str(tmp_path / "none.toml"))
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr == "" if number == 2 else "there is no such file" in told.stderr
    assert "Traceback" not in told.stderr


NUMBERS = """
import os, sys
from keeper.streams import open_closed_streams

open_closed_streams()
with open(os.devnull) as next_file:
    sys.exit(0 if next_file.fileno() > 2 and os.get_inheritable(1) else 1)
"""


def test_no_file_gets_the_number_of_a_stream_that_was_closed(monkeypatch: pytest.MonkeyPatch):
    """A process that we start would write its output into the database."""
    monkeypatch.setattr(sys.modules[__name__], "KEEPER", (sys.executable, "-c", NUMBERS))
    assert closed(1).returncode == 0
