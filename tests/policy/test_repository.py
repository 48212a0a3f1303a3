"""What may stand in no file of the repository."""

import re
from itertools import count

# In pieces, so that this file is not its own first finding.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npmjs" + ".org",
    "npmjs" + ".com",
    "yarnpkg" + ".com",
    "crates" + ".io",
    "jsdelivr" + ".net",
    "unpkg" + ".com",
    "cdnjs" + ".",
    "cloudflare" + ".com",
    "deb.debian" + ".org",
    "archive.ubuntu" + ".com",
    "fonts.google" + "apis",
)
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:work|roo" + r"t|home/\w+)/")


def test_no_file_names_a_registry_or_a_cdn(texts: dict[str, str]) -> None:
    found = [
        (name, host) for name, text in texts.items() for host in REGISTRIES if host in text.lower()
    ]
    assert found == []


def test_no_file_names_a_folder_of_the_machine_it_was_written_on(texts: dict[str, str]) -> None:
    found = [(name, hit[0]) for name, text in texts.items() if (hit := MACHINE_PATHS.search(text))]
    assert found == []


def test_nothing_built_is_tracked(texts: dict[str, str]) -> None:
    built = re.compile(r"panel/static/built/|\.mo$|(^|/)htmx[^/]*\.js$|__pycache__|^instance/")
    assert [name for name in texts if built.search(name)] == []


def test_each_migration_follows_the_one_before_it(texts: dict[str, str]) -> None:
    # Two that were written at the same time may have the same number.
    names = sorted(name for name in texts if re.fullmatch(r"migrations/versions/\d+_\w+\.py", name))
    for name, number in zip(names, count(1), strict=False):
        follows = f'"{number - 1:04}"' if number > 1 else "None"
        assert name.startswith(f"migrations/versions/{number:04}_")
        assert f'\nrevision = "{number:04}"\ndown_revision = {follows}\n' in texts[name]
