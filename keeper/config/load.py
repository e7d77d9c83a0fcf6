"""One TOML file describes one deployment. `load_config` reads it, or says everything that is wrong with it at once."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from keeper.config.deployment import Config
from keeper.config.margin_calls import MarginCalls
from keeper.config.table import Table, explain
from keeper.config.types import Origin
from keeper.core.errors import ConfigError
from keeper.core.ownership import permission_wanted


def load_margin_calls(path: Path | str) -> MarginCalls:
    """`[margin_calls]` of a file alone, whatever else is in it or missing. Raises ConfigError as `load_config` does."""
    file = Path(path)
    tables = {"margin_calls": read_tables(file).get("margin_calls", {})}
    try:
        return _MarginCallsOnly.model_validate(tables, context=Origin(file.resolve().parent, {})).margin_calls
    except ValidationError as error:
        problems = explain(error, _MarginCallsOnly)
    raise ConfigError("\n".join(f"{file}: {problem}" for problem in problems))


class _MarginCallsOnly(Table):
    margin_calls: MarginCalls


def load_config(
    path: Path | str,
    *,
    mode: str | None = None,
    environment: Mapping[str, str] | None = None,
    for_asking: bool = False,
) -> Config:
    """The checked configuration of a file.

    mode: overrides `executor.mode`, for `--alert-only` and `--dry-run`. environment: by default the process's, then
    `.env` beside the file, then `.env` in the working directory. for_asking: a secret whose variable is not set is an
    error only where it is used.
    Raises ConfigError with one line per problem: `file: path.to.key: problem; remedy`.
    """
    file = Path(path)
    tables = read_tables(file)
    if mode is not None:
        tables["executor"] = {**tables.get("executor", {}), "mode": mode}
    given = read_environment(file) if environment is None else environment
    origin = Origin(file.resolve().parent, given, for_asking)
    return check_tables(tables, origin, str(file))


def check_tables(tables: dict[str, Any], origin: Origin, where: str) -> Config:
    """The checked configuration that these tables are, whoever wrote them; lists are tuples. Changes `tables`.

    Raises ConfigError with one line per problem: `where: path.to.key: problem; remedy`.
    """
    _complete(tables, origin)
    try:
        return Config.model_validate(tables, context=origin)
    except ValidationError as error:
        problems = explain(error, Config)
    # Raised outside the handler: the original error repeats inputs, and one of them may be a secret.
    raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems))


def read_tables(file: Path) -> dict[str, Any]:
    """A file's tables as they are written. Raises ConfigError when it cannot be read or is no TOML."""
    try:
        parsed = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: there is no such file; name one with --config, start from one of configs/ (ethereum.toml, …), "
            "or let `keeper devnet` write one for a local chain"
        ) from None
    except PermissionError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); {permission_wanted(file)}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the right path with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: is no valid TOML: {error}") from None
    return {key: as_tuples(value) for key, value in parsed.items()}


def as_tuples(value: Any) -> Any:
    """TOML's lists as tuples: a configuration is immutable."""
    if isinstance(value, list):
        return tuple(as_tuples(item) for item in value)
    return {key: as_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def read_environment(file: Path) -> Mapping[str, str]:
    """What "env:NAME" in this file refers to. Raises ConfigError for a .env file that this user may not read."""
    merged: dict[str, str] = {}
    for source in (_dotenv(Path(".env")), _dotenv(file.parent / ".env"), os.environ):
        merged.update({name: value for name, value in source.items() if value is not None})
    return merged


def _dotenv(file: Path) -> Mapping[str, str | None]:
    try:
        return dotenv_values(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); {permission_wanted(file)}") from error


def _complete(tables: dict[str, Any], origin: Origin) -> None:
    """Name plugins that have no name, and forget keys of an executor that is off and has none to use.

    Several notifiers of a kind without a name keep none, which is an error: what waits in the outbox waits under the
    name, and one that is counted becomes another's when a table is removed."""
    unnamed = [plugin for plugin in _tables_in(tables.get("notifiers")) if "name" not in plugin]
    kinds = Counter(str(plugin.get("kind")) for plugin in unnamed)
    for plugin in unnamed:
        if kinds[str(plugin.get("kind"))] == 1:
            plugin["name"] = str(plugin.get("kind"))
    for where in ("venues", "funding", "submitters"):
        kinds = Counter()
        for plugin in _tables_in(tables.get(where)):
            kind = str(plugin.get("kind"))
            kinds[kind] += 1
            plugin.setdefault("name", kind if kinds[kind] == 1 else f"{kind}-{kinds[kind]}")
    executor = tables.get("executor")
    if isinstance(executor, dict) and executor.get("mode", "off") == "off":
        for table in (executor, *_tables_in(tables.get("submitters"))):
            _forget_unset(table, ("private_key", "password", "identity"), origin)


def _forget_unset(table: dict[str, Any], keys: Sequence[str], origin: Origin) -> None:
    for key in keys:
        written = table.get(key)
        if isinstance(written, str) and written.startswith("env:") and not origin.environment.get(written[4:]):
            del table[key]


def _tables_in(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, tuple):
        yield from (item for item in value if isinstance(item, dict))
