"""The README's pictures, from a fresh run on the sample: data/gallery.png and data/report.png.

    make pictures

Each says in its PNG text which code drew it (`code_key`), so that a test finds an older one.
The report page is drawn by the system's Chromium, through playwright (requirements-dev.txt).
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.data.details import read_details
from src.data.errors import InputError, run_main
from src.data.files import cache_key, write_whole
from src.data.folders import RunFolder

ROOT = Path(__file__).resolve().parent.parent
CODE = {
    "gallery.png": [ROOT / "src" / "plots.py"],
    "report.png": sorted(
        path for path in (ROOT / "src" / "report").iterdir() if path.suffix in (".py", ".js", ".css", ".html")
    ),
}
"""The pictures in data/, and the code that draws them."""
_KEY = "Drawn by"


def code_key(picture: str) -> str:
    """Return the cache key of the code that draws a picture of `CODE` now."""
    what_to_do = "run in a whole clone"
    return cache_key(picture, dict.fromkeys(CODE[picture], what_to_do))


def recorded_code_key(path: Path) -> str:
    """Return the cache key of the code that a picture was drawn by; empty if it does not say so."""
    with Image.open(path) as image:
        return str(image.info.get(_KEY, ""))


def write(png: bytes, picture: str) -> None:
    """Write a PNG into data/, with what drew it."""
    with Image.open(io.BytesIO(png)) as image:
        text = PngInfo()
        text.add_text(_KEY, code_key(picture))
        whole = io.BytesIO()
        image.convert("RGB").save(whole, "png", pnginfo=text, optimize=True)
    write_whole(ROOT / "data" / picture, whole.getvalue())


def chromium() -> str | None:
    """Return the path of the system's Chromium; None without one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def screenshot(run: RunFolder) -> bytes:
    """Return a PNG of the report page, at a row with several options of which one is the answer."""
    from playwright.sync_api import sync_playwright

    executable = chromium()
    if executable is None:
        raise InputError("there is no chromium on this system; install one and run again")
    rows = [q.row for q in read_details(run.details) if q.prediction and len(q.option_texts) > 1]
    if not rows:
        raise InputError(f"{run.details}: no row has several options; take a run of the sample")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 1240, "height": 900})
        tab.goto(f"{run.report.resolve().as_uri()}#row-{rows[0]}")
        tab.wait_for_selector("#view figure")
        png = tab.screenshot()
        browser.close()
    return png


def main() -> int:
    """Write the pictures of a run."""
    parser = argparse.ArgumentParser(description="Write data/gallery.png and data/report.png.")
    parser.add_argument("--out", type=Path, required=True, help="run folder of the sample")
    run = RunFolder(parser.parse_args().out)
    write(run.gallery.read_bytes(), "gallery.png")
    write(screenshot(run), "report.png")
    return 0


if __name__ == "__main__":
    run_main(main)
