"""Nothing secret leaves the process: not in a log, a database, an output or an error, however things go wrong."""

from __future__ import annotations

import base64
import json
import re
import socket
from decimal import Decimal
from pathlib import Path

import pytest
from eth_account import Account

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.fault_node import Cut, Http, Refuse, Text
from tests.support.fault_proxy import FaultProxy, fault_proxy, refused
from tests.support.web import Web

NODE_TOKEN = "n0de-70ken-0123456789abcdef"
NODE_KEY = "n0de-k3y-fedcba9876543210"
HOOK_TOKEN = "h00k-70ken-aaaabbbbccccdddd"
HOOK_SECRET = "h00k-s3cret-eeeeffff00001111"
BEAT_TOKEN = "b347-70ken-99998888777766665555"
CHAT_TOKEN = "ch47-70ken-2222333344445555"
CHAT_PASSWORD = "ch47-pa55word-66667777"
ACK_SECRET = "4ck-s3cret-00009999aaaa8888"
WEB_TOKEN = "w3b-70ken-1234512345123451"
KEY_PASSWORD = "k3y-pa55word-9876598765"

CHANNELS = """
[[notifiers]]
kind = "webhook"
url = "env:HOOK_URL"
secret = "env:HOOK_SECRET"

[[notifiers]]
kind = "apprise"
url = "env:CHAT_URL"

[heartbeat]
url = "env:BEAT_URL"
every_s = 1

[acknowledgements]
secret = "env:ACK_SECRET"
link = "https://keeper.example/ack/{token}"

[web]
token = "env:WEB_TOKEN"
"""
IN_THE_ENVIRONMENT = 'private_key = "env:KEEPER_PRIVATE_KEY"'
IN_A_KEYSTORE = 'keystore = "wallet.json"\npassword = "env:KEY_PASSWORD"'


def test_a_deployment_in_trouble_tells_no_secret(dev_chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A live daemon with eleven secrets, a failing node, channels that are gone, refused transactions and crashes."""
    owner = dev_chain.accounts[0]
    dev_chain.aave.supply(owner, "WETH", Decimal(10))
    dev_chain.aave.borrow(owner, "USDC", Decimal(14_000))
    dev_chain.fund_liquidator()
    with fault_proxy(dev_chain) as proxy:
        for name, value in environment(proxy).items():
            monkeypatch.setenv(name, value)
        with deploy(tmp_path, dev_chain, mode="live", rpc=["env:NODE_URL"]) as keeper:
            text = keeper.config.read_text()
            assert IN_THE_ENVIRONMENT in text
            keeper.config.write_text(text.replace(IN_THE_ENVIRONMENT, IN_A_KEYSTORE) + CHANNELS)
            wallet = Account.encrypt(dev_chain.liquidator.private_key, KEY_PASSWORD, kdf="pbkdf2", iterations=2)
            (keeper.config.parent / "wallet.json").write_text(json.dumps(wallet))
            del keeper.environment["KEEPER_PRIVATE_KEY"]
            said = live_through_trouble(keeper, proxy)
    for secret in secrets(dev_chain):
        for form in forms(secret):
            for name, content in said.items():
                assert form.lower() not in content.lower(), f"{name} holds {secret}, as {form!r}"


def secrets(chain: DevChain) -> list[str]:
    key = chain.liquidator.private_key.removeprefix("0x")
    nodes = [NODE_TOKEN, NODE_KEY]
    channels = [HOOK_TOKEN, HOOK_SECRET, CHAT_TOKEN, CHAT_PASSWORD, BEAT_TOKEN]
    return [key, KEY_PASSWORD, *nodes, *channels, ACK_SECRET, WEB_TOKEN]


def forms(secret: str) -> list[bytes]:
    """As it is, as a number, as bytes, and as headers carry it."""
    plain = [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="), secret.encode().hex().encode()]
    if len(secret) == 64:
        key = bytes.fromhex(secret)
        plain += [str(int(secret, 16)).encode(), key, base64.b64encode(key).rstrip(b"=")]
    return plain


def environment(proxy: FaultProxy) -> dict[str, str]:
    return {
        "NODE_URL": f"{proxy.ws}/v2/{NODE_TOKEN}?key={NODE_KEY}",
        "HOOK_URL": f"http://127.0.0.1:9/{HOOK_TOKEN}",
        "HOOK_SECRET": HOOK_SECRET,
        "BEAT_URL": f"http://127.0.0.1:9/{BEAT_TOKEN}",
        "CHAT_URL": f"json://keeper:{CHAT_PASSWORD}@127.0.0.1:9/{CHAT_TOKEN}",
        "ACK_SECRET": ACK_SECRET,
        "WEB_TOKEN": WEB_TOKEN,
        "KEY_PASSWORD": KEY_PASSWORD,
    }


def live_through_trouble(keeper: Keeper, proxy: FaultProxy) -> dict[str, bytes]:
    """Everything that was written or printed on the way, by where."""
    chain = keeper.chain
    said: dict[str, bytes] = {}
    proxy.down()
    port = free_port()
    keeper.launch("-v", "--web", f"127.0.0.1:{port}")
    keeper.until("the node to be missed", lambda: keeper.said("retrying"))
    proxy.up()
    keeper.until_synced()
    for fault in (
        Cut(),
        Cut(20),
        Http(503),
        Text("<html>"),
        Refuse(-32005, "rate limit exceeded"),
        Refuse(-32603, "no"),
    ):
        proxy.fail("eth_call", fault)
        chain.set_price("WBTC", chain.price("WBTC") - 10**8)
        keeper.until_synced()
    proxy.tamper("eth_sendRawTransaction", refused, times=2)
    chain.set_price("WETH", Decimal(1_600))
    keeper.until(
        "the liquidation", lambda: [row["status"] for row in keeper.liquidations()] in (["included"], ["confirmed"])
    )
    keeper.until("both channels to fail", lambda: len({line["channel"] for line in keeper.said("notice_delayed")}) == 2)
    said |= seen_from_outside(keeper.pid) | written(keeper, "while it runs: ") | served(keeper, port)
    (server,) = children(keeper.pid)
    said["environment of the web server"] = without_what_it_needs(Path(f"/proc/{server}/environ").read_bytes())
    said["output of check"] = output(keeper, "check")
    for command in ("health", "calls", "liquidations", "transactions"):
        said[f"output of {command}"] = output(keeper, command, "--json")
    keeper.terminate()
    proxy.down()
    said["output of a backfill without its node"] = output(keeper, "backfill", "-v")
    keeper.config.write_text(re.sub(r"^id = .*", "id = 5", keeper.config.read_text(), count=1, flags=re.MULTILINE))
    said["output of a run on the wrong chain"] = output(keeper, "run", "-v")
    assert b"Traceback" in said["output of a run on the wrong chain"]
    keeper.config.write_text(keeper.config.read_text().replace('mode = "live"', 'mode = "nearly"'))
    said["output of a mistake"] = output(keeper, "run", "-v")
    said |= written(keeper)
    assert {"keeper.log", "var/keeper.db", "while it runs: var/keeper.db-wal"} <= set(said)
    return said


def written(keeper: Keeper, when: str = "") -> dict[str, bytes]:
    """Every file of the deployment but its configuration, the encrypted key included: log, database, write-ahead log,
    journals, state files."""
    folder = keeper.config.parent
    files = (path for path in folder.rglob("*") if path.is_file() and path != keeper.config)
    return {f"{when}{path.relative_to(folder)}": path.read_bytes() for path in files}


def seen_from_outside(pid: int) -> dict[str, bytes]:
    """What any user of the machine sees of the daemon and of what it started."""
    found: dict[str, bytes] = {}
    for process in (pid, *children(pid)):
        for what in ("cmdline", "comm", "status"):
            file = Path(f"/proc/{process}/{what}")
            found |= {f"{what} of process {process}": file.read_bytes()} if file.exists() else {}
    return found


def served(keeper: Keeper, port: int) -> dict[str, bytes]:
    """What the web server tells whoever asks it."""
    web = Web(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {WEB_TOKEN}"})
    keeper.until("the web server to answer", lambda: listens(port))
    api = ("status", "positions", "calls", "liquidations", "transactions", "system", "ladder", "positions/table")
    paths = ("/metrics", "/readyz", "/openapi.json", *(f"/api/v1/{name}" for name in api), "/api/v1/positions?limit=x")
    return {f"answer to {path}": web.ask(path).body for path in paths}


def without_what_it_needs(environment: bytes) -> bytes:
    """The configuration names these, and it has to be whole; what signs is not among them."""
    needed = (b"NODE_URL", b"HOOK_URL", b"HOOK_SECRET", b"CHAT_URL", b"BEAT_URL", b"ACK_SECRET", b"WEB_TOKEN")
    return b"\0".join(line for line in environment.split(b"\0") if line.partition(b"=")[0] not in needed)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def output(keeper: Keeper, *arguments: str) -> bytes:
    ended = keeper.run(*arguments)
    return (ended.stdout + ended.stderr).encode()
