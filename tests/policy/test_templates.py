"""The strict Content-Security-Policy holds only if no template asks for more."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*") if path.is_file())

TAG = re.compile(r"<[a-zA-Z](?:\"[^\"]*\"|'[^']*'|\{\{.*?\}\}|\{%.*?%\}|[^<>\"'])*>", re.DOTALL)
QUOTED = re.compile(r"=\s*(?:\"[^\"]*\"|'[^']*')", re.DOTALL)
COMMENT = re.compile(r"\{#.*?#\}|<!--.*?-->", re.DOTALL)
EVENT_OR_STYLE = re.compile(r"[\s}](on[a-z]+|style|hx-on[:\w-]*)\s*(?==)")
INLINE_SCRIPT = re.compile(r"<script\b(?![^>]*\bsrc=)[^>]*>", re.IGNORECASE)
# htmx runs these through eval, which the policy forbids.
EVALUATED = re.compile(
    r"hx-(?:vals|headers)\s*=\s*[\"']\s*j(?:ava)?s(?:cript)?:|hx-trigger=\"[^\"]*\["
)
# The URL would carry its fields, a CSRF token too, into the server's log.
UNSAFE_VERB = re.compile(r"\bhx-delete\b")
SCRIPT_URL = re.compile(r"javascript:", re.IGNORECASE)
UNESCAPED = re.compile(r"\{\{[^}]*\|\s*safe\b[^}]*\}\}|\{%\s*autoescape\s+false")
FROM_ELSEWHERE = re.compile(r"\b(?:src|srcset|action|hx-\w+)\s*=\s*[\"'](?:https?:)?//")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def markup(path: Path) -> str:
    return COMMENT.sub("", path.read_text("utf-8"))


def offenders(find: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return what ``find`` finds in the mark-up of each template, by its name."""
    found = {name_of(path): find(markup(path)) for path in TEMPLATES}
    return {name: hits for name, hits in found.items() if hits}


def events_and_styles(text: str) -> list[str]:
    # The values are taken out first: a sentence in one may well say "style =".
    bare = [QUOTED.sub("=", tag) for tag in TAG.findall(text)]
    return [hit[1] for tag in bare for hit in EVENT_OR_STYLE.finditer(tag)]


def unescaped(text: str) -> list[str]:
    found: list[str] = UNESCAPED.findall(text)
    return [hit for hit in found if "style" not in hit]


def test_no_event_or_style_attributes() -> None:
    assert offenders(events_and_styles) == {}


def test_no_script_in_the_page() -> None:
    assert offenders(INLINE_SCRIPT.findall) == {}
    assert offenders(SCRIPT_URL.findall) == {}


def test_nothing_that_needs_eval_or_puts_tokens_into_urls() -> None:
    assert offenders(EVALUATED.findall) == {}
    assert offenders(UNSAFE_VERB.findall) == {}


def test_nothing_comes_from_another_host() -> None:
    assert offenders(FROM_ELSEWHERE.findall) == {}


def test_only_the_built_style_is_written_unescaped() -> None:
    assert offenders(unescaped) == {}


@pytest.mark.parametrize(
    "bad",
    [
        '<p onclick="x()">',
        "<p class='a' style='color: red'>",
        '<input value="{{ a > b }}" onchange="x">',
        '<b hx-on:click="x">',
    ],
)
def test_this_policy_sees_what_it_is_for(bad: str) -> None:
    assert events_and_styles(bad)
