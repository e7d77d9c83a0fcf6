"""Words of strangers in notices."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Words in notices"
_PAGE = "keeper/evaluator/page.py"
_T_INJECTION = "tests/unit/evaluator/test_injection.py"
_NO_NAME = f"{_T_INJECTION}::test_no_name_becomes_more_than_a_name"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "a notice cannot gain lines, or hide or turn its text",
        _PAGE,
        '    kept = ("" if unicodedata.category(char) in _UNSEEN else char for char in words)',
        "    kept = iter(words)",
        _NO_NAME,
    ),
    Removal(
        _GROUP,
        "words are no Markdown",
        _PAGE,
        r'    return _SPECIAL.sub(r"\\\1", one_line(words))',
        "    return one_line(words)",
        f"{_T_INJECTION}::test_nothing_that_was_answered_becomes_more_than_words",
    ),
    Removal(
        _GROUP,
        "words are no HTML",
        _PAGE,
        "    return escape(one_line(words), quote=True)",
        "    return one_line(words)",
        f"{_T_INJECTION}::test_nothing_that_was_answered_becomes_more_than_words",
    ),
    Removal(
        _GROUP,
        "a line's beginning makes it no list, heading or code",
        _PAGE,
        "    if opening is None:",
        "    if True:",
        "tests/unit/evaluator/test_page.py::test_what_a_line_begins_with_makes_it_nothing_else",
    ),
    Removal(
        _GROUP,
        "a symbol carries no more than a name",
        "keeper/evaluator/wording.py",
        ' if char in "+-." or unicodedata.category(char)[0] in "LN" or char == "₮")',
        ")",
        "tests/unit/evaluator/test_wording.py::test_a_symbol_cannot_carry_more_than_a_name",
    ),
    Removal(
        _GROUP,
        "a symbol is no link",
        "keeper/evaluator/wording.py",
        "    if not _SUFFIXED.fullmatch(short):",
        "    if False:",
        "tests/unit/evaluator/test_wording.py::test_a_symbol_cannot_carry_more_than_a_name",
    ),
    Removal(
        _GROUP,
        "an ENS name is believed only if it resolves back",
        "keeper/upkeep/ens.py",
        "zip(resolvers, answers, strict=True) if _address(answer) == account}",
        "zip(resolvers, answers, strict=True)}",
        "tests/integration/test_ens.py::test_a_name_is_believed_only_if_it_stands_for_the_account_that_claims_it",
    ),
    Removal(
        _GROUP,
        "an ENS name that could deceive is none",
        "keeper/upkeep/ens.py",
        "    return claim if fit and normalize(claim) == claim else None",
        "    return claim",
        "tests/integration/test_ens.py::test_a_name_that_could_deceive_is_no_name",
    ),
)
