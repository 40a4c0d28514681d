"""Write docs/images/page.jpg and page_steps.jpg: the page, and three photos colored in it.

    python -m scripts.page_pictures [CHECKPOINT]

Needs Chromium, which is kept from any network.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from flowercolor.page.build import export_page
from flowercolor.runs import find_checkpoint
from tests.page.browser import Browser, driver

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE_PX = (1200, 780)
PHONE_PX = (390, 780)
GAP_PX = 12
PAUSE_S = 3  # for the picture and the tiles to follow


def main() -> None:
    """Color three photos with a hint each, and take pictures of it."""
    with tempfile.TemporaryDirectory() as folder, driver() as start:
        page = Path(folder) / "page.html"
        export_page(find_checkpoint(sys.argv[1] if sys.argv[1:] else None), page)
        browser = start(Path(folder) / "browser")
        browser.resize(*SIZE_PX)
        browser.open(page.as_uri())
        steps = [shot(browser)]
        browser.choose(*gray_photos(Path(folder)))
        browser.wait("document.querySelectorAll('#photos img').length === 3")
        time.sleep(PAUSE_S)
        steps.append(shot(browser))
        hint(browser, 0.62, 0.4, "#c9485f")
        first = shot(browser)
        browser.click("#photos li:nth-child(2) button")
        hint(browser, 0.62, 0.72, "#8a7a66")
        browser.click("#photos li:nth-child(3) button")
        hint(browser, 0.72, 0.8, "#b3202c")
        browser.click("#save-all")
        browser.saved("flowercolor.zip")
        time.sleep(1)
        steps.append(shot(browser))
        browser.resize(*PHONE_PX, dark=True)
        browser.click("#photos li:first-child button")
        time.sleep(PAUSE_S)
        phone = shot(browser)
    first.save(IMAGES / "page.jpg", quality=88)
    steps_of(steps, phone).save(IMAGES / "page_steps.jpg", quality=82)


def gray_photos(folder: Path) -> list[Path]:
    """The dahlia, and the gray left thirds of the cat's and the cup's pictures."""
    paths = [IMAGES / "dahlia_gray.jpg"]
    for name in ("cat", "cup"):
        with Image.open(IMAGES / f"{name}.jpg") as image:
            part = image.crop((0, 0, image.width // 3 - 4, image.height)).convert("L")
        paths.append(folder / f"{name}.png")
        part.save(paths[-1])
    return paths


def hint(browser: Browser, x: float, y: float, color: str) -> None:
    """Click on the photo shown and give a color."""
    time.sleep(PAUSE_S)
    left, top, width, height = browser.run(
        "const {left, top, width, height} = document.querySelector('#frame')"
        ".getBoundingClientRect(); return [left, top, width, height]"
    )
    browser.point((left + x * width, top + y * height))
    browser.run(
        "const field = document.querySelector('#field'); field.value = args[0];"
        "field.dispatchEvent(new Event('change'));",
        color,
    )
    time.sleep(PAUSE_S)


def shot(browser: Browser) -> Image.Image:
    """The window as it is."""
    return Image.open(io.BytesIO(browser.screenshot())).convert("RGB")


def steps_of(steps: list[Image.Image], phone: Image.Image) -> Image.Image:
    """Three windows at half their size, and a phone, in two rows."""
    half = [step.resize((step.width // 2, step.height // 2)) for step in steps]
    width, height = half[0].size
    narrow = phone.resize((phone.width * height // phone.height, height))
    sheet = Image.new("RGB", (2 * width + GAP_PX, 2 * height + GAP_PX), "white")
    places = ((0, 0), (1, 0), (0, 1))
    for (column, row), step in zip(places, half, strict=True):
        sheet.paste(step, (column * (width + GAP_PX), row * (height + GAP_PX)))
    middle = width + GAP_PX + (width - narrow.width) // 2
    sheet.paste(narrow, (middle, height + GAP_PX))
    return sheet


if __name__ == "__main__":
    main()
