"""That defences are tested is itself tested: by `scripts/undefend` all of it, here that it cannot rot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scripts.undefend import main
from scripts.undefendlib.defences import DEFENCES
from scripts.undefendlib.removal import Copy, Removal
from scripts.undefendlib.table import is_current

CHAIN = "the chain, by the signer"
SYMBOL = "a symbol is no link"


def defence(name: str) -> Removal:
    [found] = [one for one in DEFENCES if one.defence == name]
    return found


def test_every_defence_stands_where_it_stood_and_has_its_test() -> None:
    assert [one.objection for one in DEFENCES if one.objection is not None] == []
    assert len(DEFENCES) > 100
    assert is_current(), "run scripts/undefend --markdown"


def test_a_defence_that_was_rewritten_is_named() -> None:
    moved = replace(defence(CHAIN), text="if nobody ever wrote this:")
    assert "has 0 times, instead of once" in (moved.objection or "")
    assert "no test" in (replace(defence(CHAIN), test="tests/unit/test_undefend.py::test_nothing").objection or "")


def test_taking_a_defence_out_fails_its_test(tmp_path: Path) -> None:
    """In a copy; and a test that goes on passing is found out."""
    copy = Copy(tmp_path)
    assert copy.try_it(defence(SYMBOL)).fails
    assert copy.try_it(defence("it expires")).fails
    assert not copy.try_it(replace(defence(SYMBOL), without=defence(SYMBOL).text)).fails
    file = defence(SYMBOL).file
    assert (tmp_path / file).read_text() == (Path(__file__).parents[2] / file).read_text()


def test_what_cannot_be_tried_here_is_said_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEEPER_TEST_POSTGRES_URL", raising=False)
    assert main(["a store on a server has one writer"]) == 2
    assert "not tried, since KEEPER_TEST_POSTGRES_URL is not set" in capsys.readouterr().err


def test_what_nobody_calls_a_defence_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no such defence"]) == 2
    assert "no defence has no such defence" in capsys.readouterr().err
