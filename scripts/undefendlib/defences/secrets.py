"""Secrets and files."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Secrets and files"
_SQLITE = "keeper/store/sqlite.py"
_T_OPENING = "tests/contract/test_store_opening.py"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "a secret does not print",
        "keeper/core/secret.py",
        '        return f"Secret({MASK})"',
        '        return f"Secret({self._text})"',
        "tests/unit/config/test_load.py::test_a_secret_shows_nowhere",
    ),
    Removal(
        _GROUP,
        "a second wall masks every log line",
        "keeper/observe.py",
        "    return _redact(line if isinstance(line, str) else str(line))",
        "    return line if isinstance(line, str) else str(line)",
        "tests/unit/test_observe.py::test_a_secret_is_masked_wherever_it_turns_up",
    ),
    Removal(
        _GROUP,
        "the telling part of a URL is masked by itself",
        "keeper/observe.py",
        "            yield from (part, unquote(part))",
        "            yield text",
        "tests/unit/test_observe.py::test_the_telling_part_of_a_url_is_masked_on_its_own",
    ),
    Removal(
        _GROUP,
        "other processes of the user read neither memory nor environment",
        "keeper/privacy.py",
        "prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)",
        "prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)",
        "tests/integration/test_privacy.py::test_another_process_of_the_same_user_reads_neither_memory_nor_environment",
    ),
    Removal(
        _GROUP,
        "no core file",
        "keeper/privacy.py",
        "    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n",
        "",
        "tests/integration/test_privacy.py::test_a_process_that_withdrew_may_dump_no_core",
    ),
    Removal(
        _GROUP,
        "new files are their owner's alone",
        "keeper/privacy.py",
        "    os.umask(0o077)\n",
        "",
        "tests/integration/test_privacy.py::test_a_process_that_withdrew_may_dump_no_core",
    ),
    Removal(
        _GROUP,
        "the database is its owner's alone",
        _SQLITE,
        "O_CREAT, 0o600))\n"
        '    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):',
        "O_CREAT, 0o644))\n    for file in ():",
        f"{_T_OPENING}::test_directories_and_files_are_made_for_the_owner_alone",
    ),
    Removal(
        _GROUP,
        "a database that was copied with other modes is taken back",
        _SQLITE,
        "                file.chmod(0o600)",
        "                pass",
        "tests/integration/test_privacy.py::test_files_of_an_earlier_time_are_taken_back",
    ),
    Removal(
        _GROUP,
        "what everybody can change is not followed",
        "keeper/privacy.py",
        "    if writable:\n",
        "    if False:\n",
        "tests/integration/test_privacy.py::test_exposures_are_named_by_what_can_be_done",
    ),
    Removal(
        _GROUP,
        "the server that speaks with strangers has no key",
        "keeper/upkeep/webchild.py",
        " if value not in hidden}",
        "}",
        "tests/integration/test_secrets.py::test_a_deployment_in_trouble_tells_no_secret",
    ),
    Removal(
        _GROUP,
        "a configuration in which a secret is written out is one of the files that hold secrets",
        "keeper/wire/files.py",
        "            *([self.file] if is_written else []),\n",
        "",
        "tests/integration/test_privacy.py::test_a_configuration_that_others_can_read_holds_no_secret",
    ),
    Removal(
        _GROUP,
        "asking whose a URL is logs nothing of it",
        "keeper/notifier/apprise.py",
        "    was, says.disabled = says.disabled, True",
        "    was = says.disabled",
        "tests/unit/watch/test_deployment.py::test_asking_whose_a_url_is_logs_nothing_of_it",
    ),
    Removal(
        _GROUP,
        "`keeper devnet` replaces no configuration but its own unasked",
        "keeper/devnet/serve.py",
        "    if file.exists() and not force and not",
        "    if False and not",
        "tests/integration/test_devnet.py::test_a_configuration_that_no_dev_chain_wrote_is_not_replaced_unasked",
    ),
)
