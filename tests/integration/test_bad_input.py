"""Everything that can be wrong with what Keeper is given: the command says what, and the remedy, and leaves no trace.

The real program each time: exit code, one message on stderr, no traceback, no secret, nothing half done.
"""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import IntentStatus
from keeper.core.secret import Secret
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import aave_loans, uniswap, write_config
from keeper.devnet.tokens import FeedMode
from keeper.executor.signer import LocalSigner
from keeper.protocols.addresses import checksummed
from keeper.store import open_store
from tests.support.daemon import deploy
from tests.support.fault_proxy import fault_proxy
from tests.support.signing import allowing
from tests.support.store_work import intent

KEY = "0x" + "4be1ca52" * 8  # of nobody
OTHER_ADDRESS = "0x00000000000000000000000000000000DeaDBeef"


@dataclass
class Deployment:
    """A configuration that is right, until a test changes it."""

    folder: Path
    chain: DevChain

    @property
    def config(self) -> Path:
        return self.folder / "keeper.toml"

    @property
    def database(self) -> Path:
        return self.folder / "var" / "keeper.db"

    def change(self, pattern: str, replacement: str) -> None:
        text, count = re.subn(pattern, replacement, self.config.read_text(), count=1, flags=re.MULTILINE)
        assert count == 1, f"{pattern} is not in the configuration"
        self.config.write_text(text)

    def run(
        self, command: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keeper", command, "--config", str(self.config), *arguments],
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "KEEPER_PRIVATE_KEY": KEY, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def files(self) -> dict[Path, bytes]:
        """Everything but the lease, which holds the process that took it last."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path: path.read_bytes() for path in found}

    def refuses(self, command: str, *words: str, environment: Mapping[str, str] | None = None) -> str:
        """Run it; it must fail, saying all this and nothing that it should not."""
        before = self.files()
        ended = self.run(command, environment=environment)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 1, said
        for word in words:
            assert word in said
        assert "Traceback" not in said
        assert KEY[2:] not in said
        after = self.files()
        assert {path: after.get(path) for path in before} == before, "what was there was changed"
        return said


@pytest.fixture(scope="module")
def chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        chain.aave.supply(chain.accounts[0], "WETH", Decimal(10))
        chain.aave.borrow(chain.accounts[0], "USDC", Decimal(10_000))
        yield chain


@pytest.fixture
def deployment(chain: DevChain, tmp_path: Path) -> Deployment:
    write_config(tmp_path / "keeper.toml", chain)
    return Deployment(tmp_path, chain)


# --- the configuration file -------------------------------------------------------------------------------------------

FILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "an unknown key": (
        r"^finality = .*",
        'finalty = "safe"',
        ("chain.finalty: is no known key", "did you mean 'finality'"),
    ),
    "a wrong type": (r"^id = .*", 'id = "one"', ("chain.id: expected a whole number, not text ('one')",)),
    "a missing secret": (
        r"^\[executor\]\nmode = .*\nprivate_key = .*",
        '[executor]\nmode = "live"\nprivate_key = "env:KEEPER_KEY_OF_NOBODY"',
        ("executor.private_key: environment variable KEEPER_KEY_OF_NOBODY is not set", "export it", ".env"),
    ),
    "an address with a wrong checksum": (
        r"^pool_addresses_provider = .*",
        'pool_addresses_provider = "0x00000000000000000000000000000000dEaDBeef"',
        ("pool_addresses_provider", "wrong checksum"),
    ),
    "no TOML": (r"^\[chain\]", "[chain", ("keeper.toml: is no valid TOML", "line 1")),
}
"""A few of each sort through the whole program; tests/unit/config has the others."""


@pytest.mark.parametrize("mistake", FILES)
def test_a_configuration_that_is_wrong(deployment: Deployment, mistake: str):
    """The file, the key, what is wrong and what would be right; no database is made for it."""
    pattern, replacement, words = FILES[mistake]
    deployment.change(pattern, replacement)
    deployment.refuses("run", "keeper.toml", *words)
    assert not deployment.database.exists()


def test_every_mistake_is_told_at_once(deployment: Deployment):
    deployment.change(r"^id = .*", 'id = "one"')
    deployment.change(r"^finality = .*", "finality = 0")
    deployment.change(r"^start_block = .*", "start_block = -1")
    said = deployment.refuses("check", "chain.id", "chain.finality", "start_block")
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize("command", ["check", "run", "calls"])
def test_no_configuration_at_all(deployment: Deployment, command: str):
    """Every command says where to get one."""
    deployment.config.unlink()
    deployment.refuses(command, "keeper.toml: there is no such file", "--config", "configs/", "keeper devnet")


def test_traceback_only_when_asked_for(deployment: Deployment):
    """-v shows where it happened, and still no secret."""
    deployment.change(r"^\[executor\]", f'[executor]\nkey = "{KEY}"')
    deployment.refuses("run", "executor.key: is no known key")
    verbose = deployment.run("run", "-v")
    assert "Traceback" in verbose.stderr
    assert KEY[2:] not in verbose.stderr


# --- the chain --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_chain_id(deployment: Deployment, command: str):
    """It cannot pass: also the daemon ends."""
    deployment.change(r"^id = .*", "id = 1")
    deployment.refuses(command, "31337", "chain", " 1")


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_address_without_code(deployment: Deployment, command: str):
    deployment.change(r"^pool_addresses_provider = .*", f'pool_addresses_provider = "{OTHER_ADDRESS}"')
    said = deployment.refuses(command, "correct the address" if command == "check" else "check the address")
    assert OTHER_ADDRESS.lower() in said.lower()


def test_an_address_of_something_else(deployment: Deployment):
    """Code that is no market's: a token."""
    token = deployment.chain.tokens["WETH"].address
    deployment.change(r"^pool_addresses_provider = .*", f'pool_addresses_provider = "{token}"')
    said = deployment.refuses("run", "no PoolAddressesProvider")
    assert token.lower() in said.lower()


@pytest.mark.parametrize("command", ["check", "backfill"])
def test_an_unreachable_node(deployment: Deployment, command: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = taken.getsockname()[1]
        deployment.change(r"^rpc = .*", f'rpc = ["ws://127.0.0.1:{port}"]')
        deployment.refuses(command, f"127.0.0.1:{port}", "refused")


def test_a_daemon_that_starts_before_its_node(deployment: Deployment):
    """Where a command gives up a daemon waits; SIGTERM ends the wait like everything else."""
    with fault_proxy(deployment.chain) as proxy, deploy(deployment.folder, deployment.chain, rpc=[proxy.ws]) as keeper:
        proxy.down()
        keeper.launch()
        (first, *_) = keeper.until("it to wait", lambda: keeper.said("retrying"))
        assert (first["what"], first["kind"]) == ("connect", "RpcUnavailable")
        assert keeper.terminate() == 0
        keeper.launch()
        keeper.until("it to wait again", lambda: keeper.said("retrying"))
        proxy.up()
        keeper.until_synced()
        assert keeper.terminate() == 0


def test_a_node_whose_url_is_a_secret(deployment: Deployment):
    """The message says which endpoint by its host, and never the token in its path."""
    deployment.change(r"^rpc = .*", 'rpc = ["env:KEEPER_RPC_URL"]')
    token = "5ecre7-70ken-0f-a-pr0vider"
    said = deployment.refuses(
        "check", "127.0.0.1:9", environment={"KEEPER_RPC_URL": f"http://127.0.0.1:9/v2/{token}?key={token}"}
    )
    assert token not in said


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_key_of_another_account(deployment: Deployment, command: str):
    deployment.change(r'^mode = "off"', f'mode = "live"\naccount = "{OTHER_ADDRESS}"')
    deployment.refuses(command, "the private key belongs to 0x", OTHER_ADDRESS.lower(), "correct the account")


@pytest.mark.parametrize(
    ("key", "words"),
    [("0x1234", "it must have 32"), ("not a key at all, is it", "not hexadecimal"), ("0x" + "00" * 32, "is zero")],
)
def test_a_key_that_is_none(deployment: Deployment, key: str, words: str):
    """What it is instead is not repeated: it may be a key with a slip of the pen."""
    deployment.change(r'^mode = "off"', 'mode = "live"')
    said = deployment.refuses("check", words, environment={"KEEPER_PRIVATE_KEY": key})
    assert key not in said


def test_a_key_that_cannot_be_used_is_told_once(deployment: Deployment, chain: DevChain):
    """Under the wallet's head, and not as a fault of the node, with our contract as well."""
    executor = {"liquidator": chain.accounts[5]}
    places = {"venues": [uniswap(chain)], "funding": [aave_loans(chain)]}
    write_config(deployment.config, chain, mode="live", executor=executor, **places)
    said = deployment.refuses("check", "FAIL  executor wallet", environment={"KEEPER_PRIVATE_KEY": "0x12"})
    assert said.count("the private key") == 1
    assert "FAIL  rpc" not in said


@pytest.mark.parametrize("status", [IntentStatus.CONFIRMED, IntentStatus.BROADCAST])
def test_a_key_that_is_not_the_one_of_the_journal(deployment: Deployment, status: IntentStatus):
    """Both addresses are named; what the old one sent and is not settled is a reason not to start."""
    ours, old = deployment.chain.liquidator, LocalSigner.from_hex(Secret(KEY), chain_id=deployment.chain.chain_id)
    sent = UnsignedTransaction(deployment.chain.chain_id, 28, 1, 2, 21_000, TxCall(old.address, b"", 0))
    held = intent("i", status, attempts=1)
    attempt = replace(held.attempts[0], raw=old.sign(sent, allowing(sent)))
    store = open_store(f"sqlite:///{deployment.database}", chain_id=deployment.chain.chain_id)
    with store.transaction() as transaction:
        transaction.put_intent(replace(held, attempts=(attempt,)))
    store.close()
    deployment.change(r'^mode = "off"', 'mode = "live"')
    checked = deployment.run("check", environment={"KEEPER_PRIVATE_KEY": ours.private_key}).stdout
    (line,) = (one for one in checked.splitlines() if one[6:].startswith("executor journal"))
    assert line.startswith("ok  " if status is IntentStatus.CONFIRMED else "FAIL")
    assert checksummed(old.address) in line and ours.address in line
    assert ("keeper resume" if status is IntentStatus.CONFIRMED else "run with the old key until") in line


def test_a_wallet_with_nothing_in_it(deployment: Deployment):
    """Live without gas or without anything to pay debts with is found before a run."""
    deployment.change(r'^mode = "off"', 'mode = "live"')
    deployment.refuses("check", "no native coin", "cannot pay gas", "holds none of the 4 tokens")


def test_places_to_sell_and_borrow_without_our_contract(deployment: Deployment, chain: DevChain):
    """They are no mistake, but whoever believes them in use is told."""
    write_config(deployment.config, chain, mode="dry_run", venues=[uniswap(chain)], funding=[aave_loans(chain)])
    assert (
        "none: the wallet pays; [[venues]] and [[funding]] wait for executor.liquidator"
        in deployment.run("check").stdout
    )


def test_a_protocol_that_names_another_spender_than_configured(deployment: Deployment):
    """A pool that is not the one written down gets no allowance; `check` tells of it before it matters."""
    deployment.change(r'^mode = "off"', f'mode = "dry_run"\nspenders = ["{OTHER_ADDRESS}"]')
    said = deployment.refuses("check", "executor spenders", "not in executor.spenders", "nothing is approved for it")
    assert deployment.chain.aave.pool in said
    deployment.change(r"^spenders = .*", f'spenders = ["{deployment.chain.aave.pool}"]')
    assert "executor spenders            1, as configured" in deployment.run("check").stdout


# --- prices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [FeedMode.ZERO, FeedMode.NEGATIVE, FeedMode.REVERTING])
def test_a_price_that_cannot_be_used(deployment: Deployment, mode: FeedMode):
    """`check` names the asset."""
    with deployment.chain.rewound():
        deployment.chain.break_feed("WETH", mode)
        deployment.refuses("check", "no usable price", deployment.chain.tokens["WETH"].address)


def test_positions_without_a_price_are_unknown_and_not_safe(deployment: Deployment):
    weth = deployment.chain.tokens["WETH"].address
    with deployment.chain.rewound():
        deployment.chain.break_feed("WETH", FeedMode.ZERO)
        assert deployment.run("backfill", "--to", str(deployment.chain.block_number)).returncode == 0
        rows = deployment.run("health", "--json").stdout.splitlines()
    assert len(rows) == 2
    assert all('"health_wad":null' in row and '"band":"unknown"' in row and weth in row for row in rows)


# --- the database -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(chain: DevChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the chain's positions in it."""
    deployment = Deployment(tmp_path_factory.mktemp("index"), chain)
    write_config(deployment.config, chain)
    ended = deployment.run("backfill", "--to", str(chain.block_number))
    assert ended.returncode == 0, ended.stderr
    return deployment.database


@pytest.fixture
def indexed(deployment: Deployment, index: Path) -> Deployment:
    shutil.copytree(index.parent, deployment.database.parent)
    return deployment


def test_a_corrupt_database(indexed: Deployment):
    """Pages overwritten by something else: no command trusts it, and none changes it."""
    content = bytearray(indexed.database.read_bytes())
    content[4096:] = b"\xde\xad" * ((len(content) - 4096) // 2)
    indexed.database.write_bytes(content)
    for command in ("run", "health"):
        indexed.refuses(command, str(indexed.database), "corrupt", "restore a backup", "keeper repair")


def test_something_that_is_no_database(deployment: Deployment):
    deployment.database.parent.mkdir()
    deployment.database.write_text("dear diary, " * 1000)
    for command in ("run", "health"):
        deployment.refuses(command, str(deployment.database), "no database")


def test_a_directory_in_place_of_the_database(deployment: Deployment):
    """No disk has failed."""
    deployment.database.mkdir(parents=True)
    for command in ("run", "health"):
        said = deployment.refuses(command, str(deployment.database), "is a directory", "correct store.url")
        assert "disk" not in said


def test_the_database_of_another_program(deployment: Deployment):
    deployment.database.parent.mkdir()
    with sqlite3.connect(deployment.database) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    for command in ("run", "health"):
        deployment.refuses(command, str(deployment.database), "recipes", "correct store.url")


def test_a_newer_database(indexed: Deployment):
    connection = sqlite3.connect(indexed.database)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    for command in ("run", "health"):
        indexed.refuses(command, str(indexed.database), "9999", "newer", "install the Keeper that wrote it")


def test_the_database_of_another_chain(indexed: Deployment, tmp_path_factory: pytest.TempPathFactory):
    """The same file under two configurations would mix two chains."""
    indexed.change(r"^id = .*", "id = 10")
    for command in ("run", "health"):
        indexed.refuses(command, "chain 31337", "10", "store.url")


def test_a_database_that_cannot_be_written(deployment: Deployment):
    """A file stands where the directory should be."""
    (deployment.folder / "var").write_text("in the way")
    deployment.refuses("run", str(deployment.database))


def test_questions_before_anything_is_indexed(deployment: Deployment):
    for command in ("health", "liquidations"):
        deployment.refuses(command, "no database at", "keeper run", "keeper backfill")
    open_store(f"sqlite:///{deployment.database}", chain_id=deployment.chain.chain_id).close()
    for command in ("health", "solvency"):
        deployment.refuses(command, "nothing is indexed yet; run `keeper backfill` or `keeper run` first")


def test_a_rehearsal_with_nothing_to_liquidate_with(deployment: Deployment):
    """Told before there is anything indexed, which may take hours, and before a fork is started."""
    said = deployment.refuses("rehearse", "nothing to liquidate with", "[[venues]]", "[[funding]]", "configs/")
    assert "no database" not in said


def test_a_second_daemon_on_the_same_database(indexed: Deployment):
    """The first one's process is named, and goes on undisturbed."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "keeper", "run", "--config", str(indexed.config), "--log-format", "json"],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert daemon.stderr is not None
        while "started" not in daemon.stderr.readline():
            assert daemon.poll() is None
        for command in ("run", "backfill"):
            assert f"in use by process {daemon.pid}" in indexed.run(command).stderr
        checked = indexed.run("check")
        assert checked.returncode == 0, checked.stdout
        assert "a daemon is writing it" in checked.stdout
    finally:
        daemon.terminate()
    assert daemon.wait(20) == 0


# --- the command line -------------------------------------------------------------------------------------------------

USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "no block number": (("backfill", "--to", "soon"), "'soon' is not a block number"),
    "a negative block": (("run", "--until-block", "-3"), "--until-block"),
    "modes that exclude each other": (("run", "--alert-only", "--dry-run"), "not allowed with"),
    "an unknown command": (("liquidate",), "invalid choice"),
    "an unknown option": (("health", "--yaml"), "--yaml"),
}


@pytest.mark.parametrize("mistake", USAGE)
def test_a_wrong_command_line(mistake: str):
    """Exit code 2, as of every Unix command."""
    arguments, words = USAGE[mistake]
    ended = subprocess.run([sys.executable, "-m", "keeper", *arguments], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert words in ended.stderr


@pytest.mark.parametrize(
    "account",
    ["0x1234", "alice.eth", "0x" + "zz" * 20, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD".replace("5a", "5A")],
)
def test_an_account_that_is_no_address(indexed: Deployment, account: str):
    ended = indexed.run("health", account)
    assert ended.returncode == 2
    assert f"{account!r} is no account address" in ended.stderr
    assert "checksum" in ended.stderr


def test_output_that_cannot_be_written(indexed: Deployment):
    """A full disk is an error with its reason; a reader that has gone is none."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "keeper", "health", "--json", "--config", str(indexed.config)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("keeper: the output could not be written ([Errno 28] No space left on device); free")
