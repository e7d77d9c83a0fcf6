"""The documentation holds: it builds strictly, reads the same on a forge as on the site; the runbook is complete."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest
import yaml
from markdown_it import MarkdownIt

from keeper.cli import build_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
STRUCTURE = ("h1", "h2", "h3", "ol", "ul", "li", "pre", "table", "tr")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strictly: a page that is not in the navigation, a link or an anchor that leads nowhere fails."""
    folder = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    built = subprocess.run(
        [mkdocs, "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_shows_what_the_files_say(site: Path):
    """Lists, tables and code are the same by CommonMark, as a forge renders the file, and on the site."""
    markdown = MarkdownIt("commonmark").enable("table")
    differing = {}
    for page in PAGES:
        path = page.relative_to(DOCS).with_suffix(".html")
        built = html5lib.parse((site / path.with_stem("index" if path.stem == "README" else path.stem)).read_text())
        (article,) = (one for one in built.iter() if _tag(one) == "article")
        here, there = _structure(html5lib.parse(markdown.render(page.read_text()))), _structure(article)
        if here != there:
            differing[str(page.relative_to(DOCS))] = {tag: (here[tag], there[tag]) for tag in here | there}
    assert differing == {}


def test_the_site_fetches_nothing_from_elsewhere(site: Path):
    """Fonts, scripts, styles and pictures are its own: who reads it is nobody's business."""
    asked: set[str] = set()
    for page in site.rglob("*.html"):
        for element in html5lib.parse(page.read_text()).iter():
            attribute = {"script": "src", "img": "src", "link": "href", "iframe": "src"}.get(_tag(element))
            found = element.get(attribute) if attribute else None
            if found and re.match(r"(?:https?:)?//", found) and element.get("rel") != "canonical":
                asked.add(found)
    assert asked == set()


def _structure(tree: Any) -> Counter[str]:
    return Counter(tag for element in tree.iter() if (tag := _tag(element)) in STRUCTURE)


def _tag(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def test_links_outside_the_site_lead_somewhere():
    """Of the files that a forge shows first: what they name is in this repository."""
    lost = [
        f"{file}: {link}"
        for file in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / file).read_text())
        if "://" not in link and not (ROOT / link).exists()
    ]
    assert lost == []


def test_every_metric_is_in_the_list_of_metrics():
    """By the source: a scrape shows only what there is to tell."""
    written = (DOCS / "web.md").read_text()
    listed = {name.removesuffix("_total") for name in re.findall(r"`(keeper_\w+)`", written)}
    listed |= {f"keeper_head{rest}" for rest in re.findall(r"`…(_\w+)`", written)}
    tree = ast.parse((ROOT / "keeper" / "web" / "metrics.py").read_text())
    told = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
    }
    metrics = {name for name in told if isinstance(name, str) and name.startswith("keeper_")}
    assert len(metrics) > 30
    assert (sorted(metrics - listed), sorted(listed - metrics)) == ([], [])


def test_every_command_is_in_the_list_of_commands():
    (commands,) = (action.choices for action in build_parser()._actions if action.metavar == "command")
    assert commands is not None
    listed = (DOCS / "commands.md").read_text()
    assert [name for name in commands if f"`keeper {name}" not in listed] == []


# --- why nothing was sent ---------------------------------------------------------------------------------------------


def skip_codes(*parts: str) -> set[str]:
    """Every reason for leaving a position alone: what becomes a `Skip`, at once or by way of a table of reasons."""
    codes: set[str] = set()
    for file in (file for part in parts for file in (ROOT / "keeper" / part).rglob("*.py")):
        tree = ast.parse(file.read_text())
        named = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for code in filter(None, map(skip_code, ast.walk(tree))):
            found = named.get(code.id) if isinstance(code, ast.Name) else code
            if isinstance(found, ast.Constant):
                codes.add(str(found.value))
    return codes


def skip_code(node: ast.AST) -> ast.expr | None:
    """Where a node says why: `Skip(code, …)`, `reasons.setdefault(code, …)`, `reasons[code] = …`, and a tuple of a code
    and words that is returned."""
    match node:
        case ast.Call(func=ast.Name(id="Skip"), args=[code, *_]):
            return code
        case ast.Call(func=ast.Attribute(value=ast.Name(id="reasons"), attr="setdefault"), args=[code, *_]):
            return code
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="reasons"), slice=code)]):
            return code
        case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str()) as code, ast.JoinedStr() | ast.Constant()])):
            return code
    return None


def explained(page: str) -> set[str]:
    text = (DOCS / page).read_text()
    return {name for row in TABLE_ROW.findall(text) for name in re.findall(r"`([a-z_]+)`", row)}


def test_every_reason_for_leaving_a_position_alone_is_explained():
    codes = skip_codes("executor", "protocols")
    assert {"not_planned", "no_edge", "paused", "inherits_too_much", "no_feed", "grace_period"} <= codes
    unknown = sorted(codes - explained("liquidations.md"))
    assert unknown == [], f"say in docs/liquidations.md what these mean: {unknown}"


def test_every_reason_why_a_position_was_not_rehearsed_is_explained():
    codes = skip_codes("core", "rehearsal")
    assert {"not_acted_on", "not_supported", "not_rehearsed"} <= codes
    unknown = sorted(codes - explained("liquidator.md"))
    assert unknown == [], f"say in docs/liquidator.md what these mean: {unknown}"


# --- the runbook ------------------------------------------------------------------------------------------------------

LOUD = ("warning", "error", "critical", "exception")
TABLE_ROW = re.compile(r"^\| (`[^|]+`)[^|]* \|", re.MULTILINE)


def loud_events() -> Iterator[str]:
    """Every event that is logged as a warning or worse, by the source."""
    for file in (ROOT / "keeper").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LOUD
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                yield from _texts(node.args[0])


def _texts(node: ast.expr) -> Iterator[str]:
    """Of an event, or of the events that a condition chooses from."""
    if isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    else:
        assert isinstance(node, ast.Constant), f"an event whose name is not written: {ast.unparse(node)}"
        yield str(node.value)


def test_the_runbook_says_what_to_do_about_every_warning_and_error():
    """And nothing about events that are no more."""
    told: set[str] = set()
    for names in TABLE_ROW.findall((DOCS / "runbook.md").read_text()):
        told.update(re.findall(r"`([a-z_]+)`", names))
    events = set(loud_events()) - {"transactions_unpaused"}  # the end of one that is there
    missing = sorted(events - told)
    assert missing == [], f"say in docs/runbook.md what these mean and what to do: {missing}"
    source = "".join(file.read_text() for file in (ROOT / "keeper").rglob("*.py"))
    gone = sorted(name for name in told - events if f'"{name}"' not in source)
    assert gone == [], f"docs/runbook.md tells of what nobody logs any more: {gone}"


def _alerts() -> set[str]:
    rules = ROOT / "configs" / "prometheus" / "rules.yml"
    if not rules.is_file():
        return set()
    groups = yaml.safe_load(rules.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_the_runbook_says_what_to_do_about_every_alert():
    text = (DOCS / "runbook.md").read_text()
    told = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    assert sorted(_alerts() - told) == [], "each alert is a heading of docs/runbook.md: what it means, what to do"
    assert sorted(name for name in told - _alerts() if name.startswith("Keeper") and _alerts()) == []
