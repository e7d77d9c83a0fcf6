"""Every route of the API under whatever a generator makes of its description: no answer but those described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from keeper.devnet.chain import DevChain
from tests.integration.test_cli import tell
from tests.support.daemon import deploy
from tests.support.inbox import open_inbox
from tests.support.web import Web, of_daemon

TOKEN = "a-token-for-tests-alone-0123456789"
ENDLESS = "/api/v1/events"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """With a history, and with a token, so that what changes something can be fuzzed too."""
    with DevChain.start() as chain, open_inbox() as inbox:
        folder = tmp_path_factory.mktemp("fuzz")
        with deploy(folder, chain, inbox, mode="live", executor={"confirmations": 1}) as keeper:
            tell(chain, inbox, keeper)
            text = keeper.config.read_text()
            keeper.config.write_text(f'{text}\n[web]\ntoken = "env:TEST_WEB_TOKEN"\n')
            keeper.environment["TEST_WEB_TOKEN"] = TOKEN
            keeper.start("--web", "127.0.0.1:0")
            yield of_daemon(keeper)


def test_every_answer_is_one_that_is_described(web: Web) -> None:
    """Status, media type and every field, for requests that the description allows and for those it does not."""
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json", headers=HEADERS)
    operations = [found.ok() for found in schema.exclude(path=ENDLESS).get_all_operations()]
    assert len(operations) == 15
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            fuzz(operation, mode)


def test_what_there_is_of_each_position_is_described(web: Web) -> None:
    """Of open ones with and without a call, and of one whose liquidation is recorded."""
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json", headers=HEADERS)
    names = [row["position"] for row in web.get("/api/v1/positions", **HEADERS)["items"]]
    assert len(names) > 3
    for path in ("/api/v1/positions/{id}", "/api/v1/positions/{id}/history"):
        for name in names:
            said = schema[path]["GET"].Case(path_parameters={"id": name}).call_and_validate(headers=HEADERS)
            assert said.status_code == 200


def fuzz(operation: Any, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    def check(case: Any) -> None:
        case.call_and_validate(headers=HEADERS)

    check()
