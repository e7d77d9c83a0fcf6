"""What an operator sees, in a real browser, over a real deployment: every test also fails on anything that the console
or the content security policy has to say, and on any request to somebody else (tests/support/browser.py)."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import HOSTILE, Deployment
from tests.support.browser import open_tab
from tests.support.web import serving

VIEWS = ("/positions", "/calls?status=all", "/ladder", "/transactions", "/system")


def page_of(account: str) -> str:
    return f"/positions/{quote(f'aave:{account}', safe='')}"


def rows_of(page: Page) -> list[str]:
    """Positions in the table, in the order in which they are seen."""
    rows = page.locator(".grid .body .row:visible")
    found = rows.evaluate_all(
        "rows => rows.map(row => [Number(row.getAttribute('aria-rowindex')), row.querySelector('.who').title])"
    )
    return [position for _, position in sorted(found)]


def row_of(page: Page, account: str) -> Any:
    return page.locator(".grid .body .row", has=page.locator(f'[title="aave:{account}"]'))


def cut(health_wad: str | None) -> str:
    """A health to four places, never rounded up."""
    return "no debt" if health_wad is None else f"{Decimal(health_wad).scaleb(-18):.18f}"[:-14]


# --- positions --------------------------------------------------------------------------------------------------------


def test_positions_are_those_of_keeper_health(browser: Browser, deployment: Deployment):
    """The nearest to liquidation first, each with its health cut to four places, its band, and its bar."""
    told = deployment.daemon.ask("health")
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/positions")
        assert rows_of(page) == [row["position"] for row in told]
        for row in told:
            cells = row_of(page, row["account"])
            expect(cells.locator(".health")).to_have_text(cut(row["health_wad"]))
            expect(cells.locator(".band")).to_have_text(row["band"])
            marks = cells.locator(".bar line").evaluate_all("all => all.map(one => one.getAttribute('class'))")
            assert marks == ["call", "urgent", "breach"]


def test_positions_are_filtered_and_sorted(browser: Browser, deployment: Deployment):
    """By band, by any part of an account, by what it is called; the address keeps the filter, to be shared."""
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/positions")
        page.get_by_role("button", name=re.compile("^call")).click()
        assert rows_of(page) == [f"aave:{deployment.cleo}"]
        page.reload()
        page.wait_for_selector("#main[data-view]")
        assert rows_of(page) == [f"aave:{deployment.cleo}"]
        page.get_by_role("button", name=re.compile("^All")).click()
        page.get_by_role("searchbox").fill(deployment.ada[:10].lower())
        assert rows_of(page) == [f"aave:{deployment.ada}"]
        page.get_by_role("searchbox").fill("onerror")
        assert rows_of(page) == [f"aave:{deployment.dov}"]
        page.get_by_role("searchbox").fill("nobody")
        expect(page.get_by_text("No position matches.")).to_be_visible()
        page.get_by_role("button", name="Show all").click()
        ascending = rows_of(page)
        page.get_by_role("button", name="Health").click()
        assert rows_of(page) == ascending[::-1]
        expect(page.get_by_role("columnheader", name="Health")).to_have_attribute("aria-sort", "descending")


# --- the other views --------------------------------------------------------------------------------------------------


def test_a_position_shows_what_cures_it_exactly(browser: Browser, deployment: Deployment):
    """What is copied is the amount that the API says, to the last digit; beside it breach prices, history, notices."""
    told = deployment.web.get(f"/api/v1{page_of(deployment.cleo)}")
    with open_tab(browser, deployment.web.url, permissions=["clipboard-read", "clipboard-write"]) as tab:
        page = tab.settle(page_of(deployment.cleo))
        expect(page.get_by_role("heading", level=1)).to_have_text(deployment.cleo)
        expect(page.locator(".factor")).to_have_text(cut(told["health_wad"]))
        demand = next(one for one in told["demands"] if one["action"] == "repay")
        amount = f"{Decimal(demand['amount']).scaleb(-demand['decimals']):f}"
        repay = page.locator(".demand", has_text="Repay")
        repay.get_by_role("button").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert Decimal(copied) == Decimal(amount)
        expect(repay.locator(".amount")).to_contain_text(f"{copied} {demand['symbol']}")
        for breach in told["breach_prices"]:
            expect(page.get_by_role("row", name=breach["symbol"]).get_by_title(breach["price"])).to_be_visible()
        assert page.locator(".chart path.line").get_attribute("d")
        expect(page.locator(".timeline .opened")).to_have_count(1)
        expect(page.locator(".timeline .notice").last).to_contain_text("told opened on webhook sent")


def test_calls_are_those_of_keeper_calls(browser: Browser, deployment: Deployment):
    """Open ones first, with what cures them; who was cured or liquidated on demand, with what happened."""
    recorded = {row["account"]: row["status"] for row in deployment.daemon.ask("calls")}
    assert recorded == {deployment.ada: "cured", deployment.bela: "liquidated", deployment.cleo: "open"}
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/calls")
        items = page.locator("ul.calls > li")
        expect(items).to_have_count(1)
        expect(items).to_contain_text("or Repay ")
        demand = deployment.web.get("/api/v1/calls?status=open")["items"][0]["demands"][0]
        told = Decimal(items.locator(".cure").inner_text().split()[1].replace(",", ""))
        exactly = Decimal(demand["amount"]).scaleb(-demand["decimals"])
        assert exactly <= told < exactly + Decimal("0.0001")  # less than what cures does not cure
        expect(page.locator("#open-calls")).to_have_text("1")
        page.get_by_role("button", name="All", exact=True).click()
        expect(items).to_have_count(3)
        lost = items.filter(has_text="liquidated").filter(has_text=deployment.bela[:6])
        expect(lost.locator(".timeline .liquidated").first).to_be_visible()


def test_a_transaction_is_followed_to_its_profit(browser: Browser, deployment: Deployment):
    (told,) = deployment.daemon.ask("liquidations")
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/transactions")
        intent = page.locator("ul.calls > li", has_text="liquidation")
        expect(intent.locator(".life")).to_have_attribute("aria-label", "Status: confirmed")
        assert intent.locator(".life .done").all_inner_texts() == ["planned", "broadcast", "included", "confirmed"]
        gained = f"{Decimal(told['profit_realized']).scaleb(-8):,.4f}"[:-2]
        expect(intent.locator(".sum")).to_have_text(f"+{gained}")
        intent.get_by_text("1 transaction").click()
        expect(intent.get_by_text(told["tx_hash"])).to_be_visible()


def test_the_ladder_is_a_picture_and_the_same_as_a_table(browser: Browser, deployment: Deployment):
    """Each step of the fall is a bar and a row, and a deeper one never opens less."""
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/ladder")
        (asset, *_) = deployment.web.get("/api/v1/ladder")["assets"]
        expect(page.locator(".chart rect.step")).to_have_count(len(asset["steps"]))
        rows = page.locator("#main table tbody tr")
        expect(rows).to_have_count(len(asset["steps"]))
        counts = [int(text.replace(",", "")) for text in rows.locator("td:nth-child(3)").all_inner_texts()]
        assert counts == sorted(counts)
        assert counts[-1] > 0
        heights = page.locator(".chart rect.step").evaluate_all(
            "all => all.map(one => Number(one.getAttribute('height')))"
        )
        assert heights == sorted(heights)


def test_the_system_shows_what_the_daemon_says_of_itself(browser: Browser, deployment: Deployment):
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/system")
        pulse = deployment.web.get("/api/v1/system")["sections"]
        expect(page.get_by_text("following", exact=True).first).to_be_visible()
        expect(page.get_by_role("row", name=re.compile("webhook sent"))).to_be_visible()
        expect(page.get_by_text(pulse["executor"]["account"]).first).to_be_visible()
        expect(page.get_by_text(re.compile("Nothing holds transactions back"))).to_be_visible()
        expect(page.get_by_role("cell", name=pulse["round_trips"]["by_endpoint"][0]["endpoint"])).to_be_visible()


# --- whoever looks, and however ---------------------------------------------------------------------------------------


def test_every_view_is_accessible(browser: Browser, deployment: Deployment):
    """axe-core finds nothing against WCAG 2.2 AA, with scripts or without, nor against its contrast in the dark."""
    with open_tab(browser, deployment.web.url) as tab:
        for path in (*VIEWS, page_of(deployment.cleo)):
            page = tab.settle(path)
            assert tab.violations() == [], path
            if path in VIEWS[::2]:  # between them they have every colour
                page.emulate_media(color_scheme="dark")
                assert tab.violations("color-contrast") == [], path
                page.emulate_media(color_scheme="light")
    with open_tab(browser, deployment.web.url) as tab:
        tab.page.route("**/app.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
        for path in ("/positions", page_of(deployment.cleo)):
            tab.goto(path)
            assert tab.violations() == [], path


def test_the_keyboard_reaches_everything(browser: Browser, deployment: Deployment):
    """Tab skips to the content, / filters, arrows walk the rows, Tab reaches one of them; Enter opens, Back returns."""
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/positions")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.press("ArrowDown")
        shown = rows_of(page)
        focused = page.locator(".grid .row:focus")
        expect(focused.locator(".who")).to_have_attribute("title", shown[0])
        page.keyboard.press("ArrowDown")
        expect(focused.locator(".who")).to_have_attribute("title", shown[1])
        page.keyboard.press("End")
        expect(focused.locator(".who")).to_have_attribute("title", shown[-1])
        expect(page.locator('.grid .body .row[tabindex="0"]')).to_have_count(1)
        assert focused.evaluate("row => getComputedStyle(row).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.wait_for_selector('#main[data-view="Position"]')
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        page.go_back()
        page.wait_for_selector('#main[data-view="Positions"]')


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, deployment: Deployment):
    with open_tab(browser, deployment.web.url, viewport={"width": 375, "height": 700}) as tab:
        for path in (*VIEWS, page_of(deployment.cleo)):
            page = tab.settle(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 375, path


def test_the_theme_that_was_chosen_stays(browser: Browser, deployment: Deployment):
    with open_tab(browser, deployment.web.url, color_scheme="light") as tab:
        page = tab.settle("/positions")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Dark").click()
        page.reload()
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark != light
        expect(page.get_by_role("button", name="Light")).to_be_visible()


def test_without_scripts_everything_can_be_read(browser: Browser, deployment: Deployment):
    """Positions, filters, a position, calls and transactions are plain HTML with plain links."""
    told = deployment.daemon.ask("health")
    with open_tab(browser, deployment.web.url, java_script_enabled=False) as tab:
        page = tab.goto("/positions")
        expect(page.locator("#live")).to_have_text("not live without scripts")
        links = page.locator("tbody a")
        names = [HOSTILE if row["account"] == deployment.dov else row["account"] for row in told]
        assert links.all_inner_texts() == names
        page.get_by_label("Account").fill(deployment.cleo)
        page.get_by_role("button", name="Show").click()
        expect(links).to_have_text([deployment.cleo])
        links.click()
        expect(page.locator(".demand", has_text="Repay")).to_be_visible()
        page.get_by_role("link", name="Calls").click()
        expect(page.locator("ul.calls > li")).to_have_count(1)
        for name in ("Ladder", "Transactions", "System"):
            page.get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_a_wrong_address_explains_itself(browser: Browser, deployment: Deployment):
    """What cannot be asked for, or is not there, is a page that says why, with its status."""
    with open_tab(browser, deployment.web.url, java_script_enabled=False, silent=False) as tab:
        for path, status, heading in (
            ("/positions?protocol=nothing", 400, "Bad Request"),
            ("/positions/nothing", 404, "Unknown position"),
        ):
            answer = tab.page.goto(tab.base + path)
            assert answer is not None
            assert answer.status == status
            expect(tab.page.get_by_role("heading", level=1)).to_have_text(heading)


def test_names_that_strangers_chose_are_only_ever_text(browser: Browser, deployment: Deployment):
    """A label that would run a script if any page took it for HTML is shown as it is written, everywhere."""
    with open_tab(browser, deployment.web.url) as tab:
        for path in ("/positions", page_of(deployment.dov)):
            page = tab.settle(path)
            expect(page.get_by_text(HOSTILE).first).to_be_visible()
            assert page.locator("img[onerror]").count() == 0
            assert page.title() != "owned"


def test_numbers_are_written_alike_with_scripts_and_without(browser: Browser, deployment: Deployment):
    """The templates' filters and the scripts' formats say the same of any integer."""
    from keeper.web.page import words

    wads = [0, 1, 10**14, 999_999_999_999_999_999, 10**18, 1_099_999_999_999_999_999, 10**22 - 1, 10**22, 2**256 - 1]
    prices = ["0", "1", "1454.547212916296076687", "0.000012345678", "1234567", "0.5", None]
    amounts = [*wads, -1, -1_234_567_890]
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/system")
        said = page.evaluate(
            """async ([wads, amounts, prices]) => {
                const f = await import("/assets/format.js"), bar = await import("/assets/healthbar.js");
                return {health: wads.map(one => f.health(one)), exact: amounts.map(one => f.exact(one, 18)),
                        money: amounts.map(one => f.money(one, 8)),
                        price: prices.map(one => f.price(one)),
                        place: wads.map(one => bar.placeOf(f.wadToNumber(one)).toFixed(1))};
            }""",
            [[str(one) for one in wads], [str(one) for one in amounts], prices],
        )
    assert said["health"] == [words.health(str(one)) for one in wads]
    assert said["exact"] == [words.exact(str(one), 18) for one in amounts]
    assert said["money"] == [words.units(str(one), 8) for one in amounts]
    assert said["price"] == [words.price(one) for one in prices]
    assert said["place"] == [words.place(str(one)) for one in wads]


# --- while it lives ---------------------------------------------------------------------------------------------------


def test_a_price_that_falls_is_seen_at_once_and_told_of_who_is_watched(browser: Browser, deployment: Deployment):
    """The row changes its band without a reload, and the browser notifies: once, of the watched account alone."""
    account, chain = deployment.cleo, deployment.chain
    with open_tab(browser, deployment.web.url, permissions=["notifications"]) as tab:
        tab.page.add_init_script(RECORD_NOTIFICATIONS)
        page = tab.settle("/positions")
        expect(row_of(page, account).locator(".band")).to_have_text("call")
        row_of(page, account).focus()
        page.keyboard.press("w")
        page.get_by_role("button", name="Notify me").click()
        expect(page.get_by_role("button", name="Notifying")).to_be_visible()
        chain.set_price("WETH", Decimal(1_600))
        expect(row_of(page, account).locator(".band")).to_have_text("urgent")
        ((title, options),) = page.evaluate(
            "async () => { while (!told.length) await new Promise(requestAnimationFrame); return told; }"
        )
        assert title == f"{account[:6]}…{account[-4:]}: urgent"
        assert options["body"].startswith("aave: fell from call to urgent, health 1.0")
        assert options["tag"] == f"aave:{account}"
        chain.set_price("WETH", Decimal(1_700))
        expect(row_of(page, account).locator(".band")).to_have_text("call")


RECORD_NOTIFICATIONS = """
    globalThis.told = [];
    const Real = Notification;
    globalThis.Notification = class extends Real {
        constructor(title, options) { super(title, options); told.push([title, options]); }
    };
"""


def test_who_logs_in_can_acknowledge_a_call(browser: Browser, deployment: Deployment, tmp_path: Path):
    """Behind a token every page asks for it first, comes back to where one wanted to be, and lets a call be
    acknowledged; the daemon takes it."""
    daemon, token = deployment.daemon, "a token of the tests, long enough"
    with ExitStack() as stack:
        guarded = ("--token", "env:PAGE_TOKEN")
        web = stack.enter_context(serving(daemon, tmp_path / "guarded.log", *guarded, PAGE_TOKEN=token))
        tab = stack.enter_context(open_tab(browser, web.url))
        page = tab.goto("/calls")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_selector('#main[data-view="Margin calls"]')
        page.get_by_role("button", name="Acknowledge").first.click()
        expect(page.get_by_text("acknowledged: it is not escalated any further")).to_be_visible()
        daemon.until("it to be taken", lambda: daemon.said("margin_call_acknowledged"))


# --- when it is not live ----------------------------------------------------------------------------------------------


def test_a_server_that_goes_and_comes_back(browser: Browser, deployment: Deployment, tmp_path: Path):
    """The page says so, keeps what it knows, and is live again by itself."""
    with ExitStack() as first, ExitStack() as second:
        web = first.enter_context(serving(deployment.daemon, tmp_path / "first.log"))
        tab = second.enter_context(open_tab(browser, web.url, silent=False))
        page = tab.settle("/positions")
        known = rows_of(page)
        first.close()
        expect(page.locator("#live")).to_contain_text("reconnecting, no news since")
        assert rows_of(page) == known
        second.enter_context(serving(deployment.daemon, tmp_path / "second.log", "--listen", f"{web.host}:{web.port}"))
        expect(page.locator("#live")).to_contain_text("live · block")
        deployment.chain.mine()
        number = deployment.chain.block_number
        expect(page.locator("#main .head")).to_contain_text(f"at block {number:,}")
        assert all("net::ERR_" in one for one in tab.problems), tab.problems


def test_a_daemon_that_ended_is_told_of(browser: Browser, deployment: Deployment):
    """The server answers, but what it shows gets old: the page says since when. Last, since it ends the daemon."""
    with open_tab(browser, deployment.web.url) as tab:
        page = tab.settle("/system")
        assert deployment.daemon.terminate() == 0
        pulse = deployment.daemon.config.parent / "var" / "keeper.db.pulse.json"
        said = json.loads(pulse.read_text())
        pulse.write_text(json.dumps({**said, "at": said["at"] - 60}))  # as it will look a minute from now
        expect(page.locator("#live")).to_contain_text("the daemon does not answer since")
        expect(page.locator("#main .head")).to_contain_text("the daemon does not answer since")
