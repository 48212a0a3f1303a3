"""A set-up as characters, as a file and as a link."""

import base64
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from panel.errors import Invalid
from panel.setups.setup_text import (
    CODE_LENGTH,
    LARGEST_FILE_BYTES,
    LINK_SCHEME,
    Setup,
    grouped,
    new_code,
    read_code,
    read_setup,
)

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PLACES = st.integers(0, CODE_LENGTH - 1)
WHOLE = Setup(
    "https://central.example.org",
    "KDV0107PAPAYA5P",
    7,
    "Kadavu Health Centre",
    "KDV-01",
    "National Store",
    "NAT-01",
    fingerprint="ab" * 32,
    ends_at=datetime(2026, 12, 11, 10, 0, tzinfo=UTC),
)

# A few hundred letters that unpack to more than a set-up may have.
TOO_LARGE = b"{" + b" " * LARGEST_FILE_BYTES + WHOLE.as_file().encode()[1:]
TOO_LARGE_LINK = LINK_SCHEME + base64.urlsafe_b64encode(zlib.compress(TOO_LARGE)).decode()


def test_the_characters_are_read_as_they_are_said_and_typed() -> None:
    code = new_code()
    assert len(code) == CODE_LENGTH
    assert len(grouped(code)) == CODE_LENGTH + 2
    for typed in (grouped(code), code.lower(), f" {' '.join(code)} ", grouped(code) + "\n"):
        assert read_code(typed) == code


@pytest.mark.parametrize(("digit", "alike"), [("0", "o"), ("1", "l"), ("1", "I")])
def test_letters_that_look_like_digits_are_taken_for_them(digit: str, alike: str) -> None:
    assert digit in WHOLE.code
    assert read_code(WHOLE.code.replace(digit, alike)) == WHOLE.code


@given(PLACES, st.sampled_from(DIGITS))
def test_one_wrong_character_is_told(place: int, digit: str) -> None:
    code = WHOLE.code
    wrong = code[:place] + digit + code[place + 1 :]
    assume(wrong != code)
    with pytest.raises(Invalid, match="One of the characters is wrong"):
        read_code(wrong)


@given(PLACES, PLACES)
def test_two_characters_that_changed_places_are_told(one: int, other: int) -> None:
    letters = list(WHOLE.code)
    letters[one], letters[other] = letters[other], letters[one]
    assume("".join(letters) != WHOLE.code)
    with pytest.raises(Invalid, match="One of the characters is wrong"):
        read_code("".join(letters))


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "Choose the file"),
        ("ABC", "15 characters, and these are 3"),
        (WHOLE.code + "7", "these are 16"),
        (WHOLE.code[:-1] + "U", "“U” is in no set-up"),
        ("{", "This is no set-up"),
        ("{}", "This is no set-up"),
        ('{"sync_panel_setup": 2}', "newer version"),
        (LINK_SCHEME + "AAAA", "This is no set-up"),
        (WHOLE.as_link()[:-9], "This is no set-up"),
        (TOO_LARGE_LINK, "This is no set-up"),
        (WHOLE.as_file().replace("KDV-01", "KDV\\u0000"), "This is no set-up"),
        (WHOLE.code, "need the URL"),
    ],
)
def test_what_is_no_set_up_says_why(typed: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read_setup(typed)


def test_the_file_and_the_link_say_the_same() -> None:
    assert read_setup(WHOLE.as_file()) == WHOLE
    assert read_setup(f"\n{WHOLE.as_link()}\n") == WHOLE
    assert len(WHOLE.as_file()) < LARGEST_FILE_BYTES


def test_characters_need_the_url_alone() -> None:
    typed = read_setup(grouped(WHOLE.code), "central.example.org/")
    assert typed == Setup("https://central.example.org", WHOLE.code)
