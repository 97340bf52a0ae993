"""The report in a real browser, opened from disk without a network: what the data holds is shown, and nothing more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from descry import report
from descry.report import Run
from tests.test_report import RULE, a_run

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (apt-get install chromium)")

RUN = "globalThis.pwned=(globalThis.pwned||0)+1"
HOST = "http://attacker.example"
PAYLOADS = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f'<img src="{HOST}/pixel.png">',
    f"<svg onload={RUN}><script>{RUN}</script></svg>",
    f'"><script>{RUN}</script>',
    f"' onmouseover='{RUN}' x='",
    f'" autofocus onfocus="{RUN}" x="',
    f"</style><script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"--><script>{RUN}</script><!--",
    f"<a href=javascript:{RUN}>press</a>",
    f"javascript:{RUN}",
    f"<iframe srcdoc='<script>parent.pwned=1</script>' src={HOST}></iframe>",
    f"<meta http-equiv=refresh content='0;url={HOST}'>",
    f"<link rel=stylesheet href={HOST}/x.css>",
    f"<base href={HOST}/><form action={HOST}><button>send",
    f"<style>@import '{HOST}/y.css'; *{{display:none}}</style>",
    f"<details open ontoggle={RUN}>",
    "{{7*7}} {% raw %} {{ self.__init__.__globals__ }} ${7*7} `${7*7}`",
    '=HYPERLINK("http://attacker.example";"open")',
    "+1+1",
    "@SUM(A1:A9)",
    "-2+3",
    "&lt;script&gt; &#60;b&#62; &amp;",
    "$\\frac{1}{0$ %s {0} \\u003cscript\\u003e",
)


def hostile() -> Run:
    """A run in which everything that comes from outside is a payload: texts, products, ids, names, members, aspects,
    the model's name."""
    made = a_run(list(PAYLOADS), taught=True)

    def side(part: report.Side) -> report.Side:
        count = len(part.sentences)
        texts = [f"{PAYLOADS[row % len(PAYLOADS)]} #{row}" for row in range(count)]
        products = [PAYLOADS[(row + 7) % len(PAYLOADS)] for row in range(count)]
        ids = [f"{PAYLOADS[(row // 3) % len(PAYLOADS)]}{row // 3}" for row in range(count)]
        return replace(part, sentences=pd.DataFrame({"review_id": ids, "product": products, "text": texts}))

    names = {name: PAYLOADS[place % len(PAYLOADS)] for place, name in enumerate(made.aspects["aspect"])}
    return replace(
        made,
        calibration=side(made.calibration),
        validation=side(made.validation),
        aspects=made.aspects.assign(aspect=made.aspects["aspect"].map(names)).drop_duplicates("aspect"),
        confusion=made.confusion.assign(aspect=made.confusion["aspect"].map(names).fillna("")).drop_duplicates(
            ["aspect", "descriptor"]
        ),
        target=f"{HOST}/<script>{RUN}</script>",
        rule=RULE | {"exemplars": 12},
    )


@pytest.fixture(scope="module")
def run() -> Run:
    return hostile()


@pytest.fixture(scope="module")
def address(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page lies."""
    folder = tmp_path_factory.mktemp("report")
    for name, content in report.build(run, neurons=4, exemplars=5).items():
        (folder / name).write_bytes(content)
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Chromium has no sandbox for root, as whom CI runs.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


class Watched:
    """A page, and what it did: every request, every word on the console, every error, dialog and window."""

    def __init__(self, browser: Any) -> None:
        self.context = browser.new_context(offline=True)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.said: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("a dialog"), dialog.dismiss()))
        self.page.on("popup", lambda _: self.said.append("a window"))

    @property
    def pwned(self) -> Any:
        return self.page.evaluate("globalThis.pwned ?? 0")

    def outside(self, address: str) -> list[str]:
        """Requests for anything but the page itself and the pictures in it."""
        return [url for url in self.requests if url.partition("#")[0] != address and not url.startswith("data:")]


@pytest.fixture
def watched(browser: Any, address: str) -> Iterator[Watched]:
    made = Watched(browser)
    made.page.goto(address)
    yield made
    made.context.close()


def use(page: Any) -> None:
    """What a reader does: opens everything, moves over it, searches, sorts, follows the page's own links."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.mouse.move(300, 300)
    page.mouse.wheel(0, 5000)
    page.fill("#find", "script")
    page.select_option("#order", "words")
    page.fill("#find", "")
    for link in page.locator("#cards a.chip").all()[:5]:
        link.click()
    page.keyboard.press("Tab")


def test_nothing_of_the_data_runs_and_nothing_is_fetched(watched: Watched, address: str) -> None:
    use(watched.page)
    assert watched.pwned == 0
    assert watched.said == []
    assert watched.outside(address) == []
    assert watched.page.url.partition("#")[0] == address


def test_what_the_data_holds_is_shown_as_it_stands(watched: Watched, run: Run) -> None:
    page = watched.page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.title() == f"What the neurons of {run.target} speak of"
    assert page.locator(".model").inner_text() == run.target
    assert set(page.locator("#cards h3").all_text_contents()) == set(PAYLOADS)
    shown = page.locator("#cards").inner_text()
    for payload in PAYLOADS:
        assert payload in shown, payload
    texts = page.locator("#cards .text").all_text_contents()
    known = set(run.calibration.sentences["text"]) | set(run.validation.sentences["text"])
    assert len(texts) > 100
    assert all(any(text.strip().startswith(one) for one in known) for text in texts)
    assert "49" not in page.locator("#cards h3", has_text="7*7").inner_text()


def test_the_page_holds_the_elements_of_its_templates_alone(watched: Watched) -> None:
    counted = watched.page.evaluate(
        "() => ({scripts: document.scripts.length, sheets: document.styleSheets.length,"
        " odd: document.querySelectorAll('iframe, object, embed, form, base, svg, link:not([rel=icon])').length,"
        " handlers: [...document.querySelectorAll('*')].filter("
        "   (one) => [...one.attributes].some((own) => own.name.startsWith('on'))).length,"
        " links: [...document.links].filter((one) => !one.getAttribute('href').startsWith('#')).length})"
    )
    assert counted == {"scripts": 1, "sheets": 1, "odd": 0, "handlers": 0, "links": 0}


@pytest.mark.parametrize("part", [f"<script>{RUN}</script>", "%", "%E0%A4%A", "<img src=x onerror=alert(1)>", "' + 1"])
def test_an_odd_address_is_only_an_address(browser: Any, address: str, part: str) -> None:
    watched = Watched(browser)
    watched.page.goto(f"{address}#{part}")
    assert watched.page.locator("#count").inner_text() == f"{len(PAYLOADS)} descriptors"
    assert watched.pwned == 0
    assert watched.said == []
    assert watched.outside(address) == []
    watched.context.close()


def test_the_policy_stops_what_escaping_would_let_through(
    browser: Any, address: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a text put in unescaped, its script would still not run, and nothing be fetched: and without the policy too
    it runs, so this browser would have told."""
    page = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
    open_door = page.replace('<main id="main"', f'<script>{RUN}</script><img src="{HOST}/p.png"><main id="main"', 1)
    without = open_door.replace('http-equiv="Content-Security-Policy"', 'name="none"', 1)
    for name, content, ran in (("policy", open_door, 0), ("none", without, 1)):
        path = tmp_path / f"{name}.html"
        path.write_text(content, encoding="utf-8")
        watched = Watched(browser)
        watched.page.goto(path.as_uri())
        assert watched.pwned == ran
        assert bool(watched.said) is True  # the browser says what was stopped, by the policy or for lack of a network
        watched.context.close()
