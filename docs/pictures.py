"""python docs/pictures.py: the README's pictures. Plots of the committed run are copied, its page is photographed."""

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

REPORT, IMAGES = Path("report"), Path("docs/images")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PLOTS = ("layers", "at_k")
VIEWS = {
    "neuron": ("#neuron/6:93", ".histogram"),
    "relations": ("#map", "#relations"),
    "beyond": ("#beyond", "#transfer"),
}
"""Of each picture the view's address, and an element to wait for: the picture starts there where it is an id, at the
top of the page otherwise."""


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for name in PLOTS:
        shutil.copyfile(REPORT / f"{name}.png", IMAGES / f"{name}.png")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        page = browser.new_page(viewport={"width": 1180, "height": 1240}, color_scheme="light")
        for name, (view, anchor) in VIEWS.items():
            page.goto("about:blank")
            page.goto((REPORT / "index.html").resolve().as_uri() + view)
            page.locator(anchor).wait_for()
            if anchor.startswith("#"):
                page.evaluate(f"document.querySelector('{anchor}').scrollIntoView()")
            page.screenshot(path=IMAGES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
