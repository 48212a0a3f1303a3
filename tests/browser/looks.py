"""What every page owes its readers, whatever it shows: to be read by all, and on small screens."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# At 660 px lists are tables still; 550 px is what a window of 1100 px has at a zoom of 200 %.
NARROW = (660, 550, 360, 320)
# The size of what is pressed is the one rule of WCAG 2.2 AA that axe leaves out until it is told.
WCAG: dict[str, Any] = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth
  return [...document.querySelectorAll('body *')]
    .filter((element) => {
      const { left, right } = element.getBoundingClientRect()
      return right > width + 1 || left < -1
    })
    .map((element) => element.outerHTML.slice(0, 120))
}"""
SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def expect_accessible(page: Page, **options: Any) -> None:
    """Let axe look for what WCAG 2.2 AA does not allow."""
    found = Axe().run(page, options={**WCAG, **options})
    assert found.violations_count == 0, found.generate_report()


def expect_contrast(page: Page) -> None:
    """Let axe look at the colours only."""
    expect_accessible(page, runOnly=["color-contrast"], rules={})


def expect_no_sideways_scrolling(page: Page) -> None:
    """Make the window as narrow as windows come."""
    wide = page.viewport_size
    assert wide
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 740})
        assert not page.evaluate(SCROLLS), f"{width} px: {page.evaluate(OVERFLOW)}"
    page.set_viewport_size(wide)
