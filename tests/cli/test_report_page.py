"""`report.html` in a browser: nothing is cut off, on a wide screen and on a narrow one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from morphax.cli.main import main

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
# What the page itself says about its layout, as the text of its title.
LOOK = """<script>
addEventListener("load", () => { document.title = JSON.stringify([
  innerWidth, document.documentElement.scrollWidth,
  [...document.images].filter(image => !image.naturalWidth).length, document.images.length,
  document.querySelectorAll("svg").length,
  [...document.images].reduce((least, image) => Math.min(least, image.width), 9999)]) });
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Return a report that says how it is laid out."""
    folder = tmp_path_factory.mktemp("report")
    assert main(["demo", str(folder / "pairs")]) == 0
    words = "learn", folder / "pairs", "-o", folder / "model", "--minutes", 0.05
    assert main([str(word) for word in words]) == 0
    page = folder / "model/report.html"
    page.write_text(page.read_text().replace("</body>", f"{LOOK}</body>"))
    return page


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium, which is not installed")
@pytest.mark.parametrize(("width", "least"), [(1200, 150), (500, 90)])
def test_the_page_fits_the_screen(tmp_path, page, width, least) -> None:
    told = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--window-size={width},900", f"--user-data-dir={tmp_path / 'browser'}"),
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    title = re.search(r"<title>\[([\d,]+)\]</title>", told)
    assert title, told[:500]
    inner, whole, broken, images, drawings, smallest = map(int, title[1].split(","))
    assert whole <= inner
    assert broken == 0
    assert images >= 8
    assert drawings >= 2
    assert smallest >= least
