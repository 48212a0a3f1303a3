"""A language that puts ⟦brackets⟧ on all that it translates, and a reader who misses them."""

import re
from html.parser import HTMLParser

from babel.support import NullTranslations

# What is said to whoever does not look, or by the style and the script.
SAID = ("alt", "aria-label", "placeholder", "title")
WORD = re.compile(r"[^\W\d_]{2,}")
BRACKETED = re.compile(r"⟦[^⟦⟧]*⟧")


class Brackets(NullTranslations):
    """Marks every sentence of the catalogues; what comes into a sentence is inside the marks."""

    def ugettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ungettext(self, singular: str, plural: str, number: int) -> str:
        return f"⟦{singular if number == 1 else plural}⟧"


class _Reader(HTMLParser):
    """Reads what people read: no times, which the browser writes, and no style or script."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._said: list[str] = []
        self._skipped = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._skipped += tag in ("script", "style", "time")
        for name, value in attributes:
            if value and (
                name in SAID or (name.startswith("data-") and name not in ("data-back", "data-due"))
            ):
                self._said.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("script", "style", "time")

    def handle_data(self, text: str) -> None:
        if not self._skipped:
            self.texts.append(text)

    def read(self, html: str) -> str:
        self.feed(html)
        # Attributes last: a text may go on in the next element.
        return " ".join(self.texts + self._said)


def words_outside(html: str, data: str) -> list[str]:
    """Return the words of ``html`` that are in no brackets, nor among those of ``data``."""
    text, before = _Reader().read(html), ""
    while text != before:
        text, before = BRACKETED.sub(" ", text), text
    found = WORD.findall(re.sub(r"https?://\S+", " ", text))
    return [word for word in found if word not in WORD.findall(data)]
