"""The page about a real run, opened in a real browser: its figures are the journal's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from drctl.drill import scenario
from drctl.drill.drivers import LabOptions
from drctl.drill.gameday import Drill
from drctl.drill.record import DrillRecord, save
from drctl.journal.runstate import Event
from drctl.journal.store import Store
from drctl.lab.local import driver
from drctl.ui.documents import human_seconds
from tests.support.browser import Browser, chromium, look_for_chromium
from tests.support.labs import quiet
from tests.support.operator import Operator

pytestmark = pytest.mark.lab


EARLIER = "20260131-100000-controller-killed-copy"
"""The same drill once more under an earlier date: a history has to begin with something."""


@dataclass(frozen=True)
class Drilled:
    """A drill in which drctl was killed twice: its record, its pages and the run's journal."""

    record: DrillRecord
    events: tuple[Event, ...]
    drill_page: Path
    run_page: Path


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory, etcd_dir: Path) -> Iterator[Drilled]:
    look_for_chromium()  # before the minute that the rest takes
    folder = tmp_path_factory.mktemp("report")
    lab, state = folder / "lab", folder / "state"
    drill = Drill("local", LabOptions(etcd=etcd_dir), state, quiet, directory=lab, keep=True)
    try:
        (record,) = drill.run([scenario.load("controller-killed")])
        assert record.verdict == "passed", record.reason
        operator = Operator(lab / "inventory.yaml", lab / "state")
        run_page = folder / "run.html"
        told = operator.types("runs", "report", *operator.on, "--html", str(run_page))
        assert told.returncode == 0, told.stderr
        store = Store(lab / "state")
        events = store.read(*store.runs()[-1]).events
    finally:
        driver.down(lab, quiet)
    assert (state / "drills" / f"{record.drill}.html").stat().st_mode & 0o777 == 0o600
    save(replace(record, drill=EARLIER, started="2026-01-31T10:00:00+00:00"), state)
    drill_page = folder / "drill.html"
    told = operator.types("drill", "report", "--state-dir", str(state), "--html", str(drill_page))
    assert told.returncode == 0, told.stderr
    yield Drilled(record, events, drill_page, run_page)


@pytest.fixture(scope="module")
def events(drilled: Drilled) -> tuple[Event, ...]:
    return drilled.events


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def browser(chrome: Browser, drilled: Drilled) -> Browser:
    """The run's page, as it is when it is opened."""
    return opened(chrome, drilled.run_page)


@pytest.fixture(params=["run_page", "drill_page"])
def any_page(chrome: Browser, drilled: Drilled, request: pytest.FixtureRequest) -> Browser:
    """Each page in turn."""
    return opened(chrome, getattr(drilled, request.param))


def opened(chrome: Browser, page: Path) -> Browser:
    chrome.width(1280)
    chrome.media()
    chrome.open(page)
    return chrome


ROWS = """Array.from(document.querySelectorAll('tr[data-step]')).map(row => ({
    step: row.dataset.step,
    host: row.dataset.host,
    state: row.querySelector('.state').textContent.trim(),
    seconds: Number(row.querySelector('td:last-child data').value),
    shown: row.querySelector('td:last-child').textContent.trim(),
}))"""


NUMBERS = "Array.from(document.querySelectorAll(arguments[0])).map(e => Number(e.value))"


def results(events: tuple[Event, ...]) -> list[dict[str, Any]]:
    """(step, host) with its seconds, counted from the events by hand, session by session."""
    found, begun = [], dict[tuple[str, str], Event]()
    for event in events:
        key = (event.body.get("step", ""), event.body.get("host", ""))
        if event.kind == "host-started":
            begun.setdefault(key, event)
        elif event.kind == "step-started":
            begun[key[0], ""] = event  # a look that is taken anew begins with its step
        elif event.kind == "result":
            start = begun.pop(key, begun[key[0], ""])
            found.append({"key": key, "seconds": (event.when - start.when).total_seconds()})
        elif event.kind == "session":
            begun.clear()
    return found


def test_every_result_stands_in_the_page(browser: Browser, events: tuple[Event, ...]) -> None:
    rows = browser.ask(ROWS)
    wanted = results(events)
    told = [row for row in rows if row["state"] == "done"]
    assert len(told) == len(wanted) > 60
    for each in wanted:
        same = [row for row in told if (row["step"], row["host"]) == each["key"]]
        assert each["seconds"] in [pytest.approx(row["seconds"], abs=0.002) for row in same], each
    assert all(row["shown"] == human_seconds(row["seconds"]) for row in rows)
    unseen = {(row["step"], row["host"]) for row in rows if row["state"] == "no result"}
    assert {step for step, _ in unseen} == {"rebuild", "start-etcd"}  # where it was killed
    assert unseen <= {(e.body["step"], e.body["host"]) for e in events if e.kind == "host-started"}


def test_its_figures_are_the_journals(
    browser: Browser, drilled: Drilled, events: tuple[Event, ...]
) -> None:
    assert browser.text("h1").endswith("Restored and verified")
    plan = events[0].body["plan"]
    assert browser.text("#run") == events[0].body["run"]
    assert browser.text("#plan-digest") == plan["digest"]
    assert browser.text("#cluster-id") == events[0].body["values"]["cluster_id"]
    assert browser.text("#snapshot-sha256") == plan["facts"]["snapshot"]["sha256"]
    total = (events[-1].when - events[0].when).total_seconds()
    assert browser.text("#figure-total") == human_seconds(total)
    parts = browser.ask(NUMBERS, ".split tbody data")
    assert sum(parts) == pytest.approx(total, abs=0.001 * len(parts))
    looks = sum(step["kind"] != "confirm" for step in plan["steps"])
    assert browser.text("#figure-checks") == f"{looks} of {looks}"
    outcomes = browser.ask(
        "Array.from(document.querySelectorAll('tr[data-check] .state')).map(e => e.textContent)"
    )
    assert outcomes == ["held"] * looks
    assert "What was not tested" in browser.text("#not-tested")


def test_the_drills_figures_are_the_records(chrome: Browser, drilled: Drilled) -> None:
    browser, record = opened(chrome, drilled.drill_page), drilled.record
    assert record.rto_seconds is not None and record.rpo_seconds is not None
    assert browser.text("h1") == f"Passed: {record.title}"
    assert browser.text("#drill") == record.drill
    assert browser.text("#figure-rto") == human_seconds(record.rto_seconds)
    assert browser.text("#figure-rpo") == human_seconds(record.rpo_seconds)
    parts = browser.ask(NUMBERS, "section[aria-labelledby=time] .split tbody data")
    assert sum(parts) == pytest.approx(record.rto_seconds, abs=0.001 * len(parts))
    lost = browser.ask(NUMBERS, "section[aria-labelledby=loss] tbody data")
    assert lost == [record.rpo_revisions, record.rpo_keys]
    proofs = browser.ask("document.querySelectorAll('tr[data-proof] .state.good').length")
    assert proofs == len(record.proofs) > 5
    assert browser.ask("document.querySelectorAll('.trend circle').length") == 2
    assert browser.ask("document.querySelectorAll('.trend circle.this').length") == 1
    rows = browser.ask(ROWS)
    assert len(rows) > 60 and {row["step"] for row in rows} >= {"rebuild", "swap", "answers"}
    for what in (*record.not_tested, "shared one machine"):
        assert (what.rpartition(": ")[0] or what) in browser.text("#not-tested")


def test_nothing_leaves_the_page(any_page: Browser) -> None:
    assert any_page.requests() == [any_page.ask("location.href")]
    assert any_page.complaints() == []
    assert any_page.ask("performance.getEntriesByType('resource').length") == 0
    assert any_page.ask("document.scripts.length") == 0


FOCUSED = "(e => e.id || e.getAttribute('href') || e.tagName)(document.activeElement)"


def test_the_keyboard_is_enough(browser: Browser) -> None:
    browser.press(Keys.TAB)
    assert browser.ask(FOCUSED) == "#main"
    assert browser.ask("document.activeElement.getBoundingClientRect().left >= 0")  # seen now
    browser.press(Keys.ENTER)
    assert browser.ask("document.activeElement.id") == "main"
    places = []
    while True:
        browser.press(Keys.TAB)
        places.append(browser.ask(FOCUSED))
        if places[-1] == "SUMMARY" or len(places) > 20:
            break
    assert places == ["#what", "#time", "#loss", "#checks", "#timeline", "#hosts", "SUMMARY"]
    assert browser.ask("document.activeElement.parentElement.open") is False
    browser.press(Keys.ENTER)
    assert browser.ask("document.activeElement.parentElement.open") is True
    assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"


OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(any_page: Browser, width: int) -> None:
    any_page.width(width)
    any_page.ask(OPEN_ALL)
    assert any_page.ask("document.documentElement.scrollWidth") <= width


CONTRASTS = """(() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    return Array.from(document.querySelectorAll('body *'))
        .filter(e => Array.from(e.childNodes).some(n => n.nodeType === 3 && n.data.trim()))
        .filter(e => e.checkVisibility() && e.tagName !== 'title')
        .map(e => {
            const style = getComputedStyle(e);
            const ink = light(e instanceof SVGElement ? style.fill : style.color);
            const [low, high] = [ink, light(behind(e))].sort((a, b) => a - b);
            return [(high + 0.05) / (low + 0.05), e.tagName, e.textContent.slice(0, 40)];
        });
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_in_the_dark(any_page: Browser, scheme: str) -> None:
    any_page.media("screen", scheme)
    any_page.ask(OPEN_ALL)
    seen = any_page.ask(CONTRASTS)
    assert len(seen) > 200
    assert [each for each in seen if each[0] < 4.5] == []
    paper = any_page.ask("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is (scheme == "light")


def test_on_paper_everything_is_open_and_dark_on_white(any_page: Browser) -> None:
    row = "document.querySelector('tr[data-step]').checkVisibility()"
    assert any_page.ask(row) is False
    any_page.media("print", "dark")
    assert any_page.ask(row) is True
    assert any_page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_tables_say_what_their_cells_mean(any_page: Browser) -> None:
    bare = """Array.from(document.querySelectorAll('th')).filter(
        e => !['col', 'row', 'rowgroup'].includes(e.scope)).length"""
    assert any_page.ask(bare) == 0
    unnamed = """Array.from(document.querySelectorAll('svg')).filter(e => !e.closest(
        '[aria-hidden=true]') && !e.getAttribute('aria-label')).length"""
    assert any_page.ask(unnamed) == 0
    assert any_page.ask("document.documentElement.lang") == "en"
