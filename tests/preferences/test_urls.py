"""Which URL may be kept, and how it is written down."""

import pytest

from panel.errors import Invalid
from panel.preferences.field_checks import check_url


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", ""),
        ("   ", ""),
        ("central.example.org", "https://central.example.org"),
        (" https://Central.Example.org/ ", "https://central.example.org"),
        ("HTTPS://central.example.org:443", "https://central.example.org"),
        ("central.example.org:8443", "https://central.example.org:8443"),
        ("https://example.org/sync/", "https://example.org/sync"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        # Pasted from a log or from a primary's own address.
        ("https://example.org/sync/exchange", "https://example.org"),
        ("example.org:8443/a/sync/exchange/", "https://example.org:8443/a"),
        ("https://example.org/sync/sync/v5/site", "https://example.org/sync"),
        ("https://example.org/sync/v5", "https://example.org"),
        ("https://example.org/sync/exchanges", "https://example.org/sync/exchanges"),
        ("10.1.2.3", "https://10.1.2.3"),
        ("https://[2001:DB8:0::1]:9000/", "https://[2001:db8::1]:9000"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:80", "http://localhost"),
        ("https://dépôt.example", "https://xn--dpt-bma0d.example"),
    ],
)
def test_https_is_the_default_and_one_address_is_written_one_way(typed: str, kept: str) -> None:
    assert check_url(typed) == (kept, False)


@pytest.mark.parametrize(
    "typed",
    [
        "http://127.0.0.1:8000",
        "http://[::1]",
        "http://10.0.0.9",
        "http://172.16.0.1",
        "http://172.31.255.254",
        "http://192.168.1.10/sync",
        "http://169.254.3.4",
        "http://[fd00::17]",
        "http://panel.localhost",
    ],
)
def test_http_within_the_building_needs_no_warning(typed: str) -> None:
    assert check_url(typed)[1] is False


@pytest.mark.parametrize(
    "typed",
    [
        "http://central.example.org",
        "http://203.0.113.7",
        "http://172.32.0.1",
        "http://8.8.8.8:8080",
        "http://[2001:db8::1]",
        "http://0.0.0.0",
        "http://store",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
    ],
)
def test_http_to_anywhere_else_needs_a_warning(typed: str) -> None:
    assert check_url(typed)[1] is True


@pytest.mark.parametrize(
    "typed",
    [
        "ftp://example.org",
        "javascript://example.org",
        "https://kadavu:secret@example.org",
        "https://kadavu@example.org",
        "mailto:kadavu@example.org",
        "https://example.org?site=7",
        "https://example.org/?",
        "https://example.org/#top",
        "https://",
        "https:///sync",
        "https://exa mple.org",
        "https://example.org\\evil.example",
        "https://example.org/../admin",
        "https://example.org/%00\x00",
        "https://exam\nple.org",
        "https://-example.org",
        "https://example..org",
        "https://192.168.1.300",
        "https://192.168.1",
        "https://example.org:0",
        "https://example.org:70000",
        "https://example.org:http",
        "https://example.org:",
        "https://[::1",
        "https://[not-an-address]",
        "https://" + "a" * 64 + ".org",
        "https://example.org/<script>",
        "https://example.org/" + "a" * 500,
    ],
)
def test_anything_else_is_refused_in_words(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(typed)
    assert list(refused.value.problems) == ["url"]
    assert str(refused.value.problems["url"])


def test_what_is_kept_is_kept_when_it_is_saved_again() -> None:
    for typed in ("central.example.org", "http://[::1]:80/a/", "https://dépôt.example:444"):
        kept, _ = check_url(typed)
        assert check_url(kept)[0] == kept
