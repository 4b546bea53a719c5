"""Appending to a manifest: what stood there stays, byte for byte, and what is read is the old and the new."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.manifest import parse
from ckptd.core.manifest_edit import MINIMAL, append, put_in_place
from ckptd.core.models import Checkpoint

A = "a" * 64
FULL = Checkpoint(
    "new",
    "https://h/new.tar.gz",
    "new.tar.gz",
    ("https://m/1", "https://m/2"),
    A,
    5,
    unpack=True,
    tags=("t", "u"),
    description='a "quoted" \\ word, ü\nand a line',
    allow_http=True,
)
PLAIN = Checkpoint("plain", "gs://b/plain.zip", "plain.zip")
ENTRY = '[[checkpoint]]\nname = "a"\nurl = "https://h/a.pth"\n'


def test_an_entry_says_only_what_is_to_be_said() -> None:
    assert append("# mine\n", [PLAIN]) == ('# mine\n\n[[checkpoint]]\nname = "plain"\nurl = "gs://b/plain.zip"\n')


def test_every_key_comes_back() -> None:
    assert parse(append("# mine\n", [FULL, PLAIN])).checkpoints == (FULL, PLAIN)


@pytest.mark.parametrize("text", ["", "\n", "\ufeff", " \n\n"])
def test_nothing_becomes_a_whole_manifest(text: str) -> None:
    found = append(text, [PLAIN])
    assert MINIMAL in found
    assert parse(found).checkpoints == (PLAIN,)


def test_nothing_to_append_changes_nothing() -> None:
    assert append("", []) == ""
    assert append(ENTRY, []) == ENTRY


@pytest.mark.parametrize(
    ("text", "between"),
    [
        (ENTRY, "\n"),
        (ENTRY.rstrip("\n"), "\n\n"),
        (ENTRY + "\n", ""),
        (ENTRY + "# the end", "\n\n"),
        (ENTRY + "\n[sync]\nevery = '1h' # often\n", "\n"),
        (ENTRY.replace("\n", "\r\n"), "\r\n"),
        ("\ufeff" + ENTRY.replace("\n", "\r\n"), "\r\n"),
        ('[store]\npath = """\nx\\\n   y"""\n'.replace("\nx", "x"), "\n"),
    ],
)
def test_the_old_text_is_the_beginning_of_the_new(text: str, between: str) -> None:
    found = append(text, [PLAIN])
    assert found.startswith(f"{text}{between}[[checkpoint]]")
    assert parse(found).checkpoints == (*parse(text).checkpoints, PLAIN)
    assert ("\r\n" in text) == ("\r\n" in found)
    assert found.count("\n") == found.count("\r\n") or "\r\n" not in found


@pytest.mark.parametrize(
    "text",
    [
        "checkpoint = []  # none yet\n\n[store]\npath = 'x' # here\n",
        'checkpoint = [{name = "a", url = "https://h/a.pth"}]\n# after\n[store]\npath = "x"\n',
        'checkpoint = [\n  # first\n  {name="a", url="https://h/a.pth"},  # one\n  # last\n]\n[sync]\nevery = "1h"\n',
    ],
)
def test_entries_that_are_one_value(text: str) -> None:
    found = append(text, [FULL, PLAIN])
    assert parse(found) == replace(parse(text), checkpoints=(*parse(text).checkpoints, FULL, PLAIN))
    for comment in (line[line.index("#") :] for line in text.splitlines() if "#" in line):
        assert comment in found
    assert found.endswith(text[text.rindex("[s") :])


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029"), max_size=20)


@st.composite
def checkpoints(draw: st.DrawFn, prefix: str) -> list[Checkpoint]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        file = f"{prefix}{number}.pth"
        found.append(
            Checkpoint(
                f"{prefix}{number}-{draw(NAMES)}",
                f"https://h/{file}",
                file,
                mirrors=tuple(dict.fromkeys(f"https://m/{each}" for each in draw(st.lists(NAMES, max_size=2)))),
                sha256=draw(st.sampled_from([None, A])),
                size=draw(st.none() | st.integers(1, 2**63 - 1)),
                unpack=draw(st.booleans()),
                tags=tuple(dict.fromkeys(draw(st.lists(NAMES, max_size=2)))),
                description=draw(WORDS),
                allow_http=draw(st.booleans()),
            )
        )
    return found


COMMENTS = WORDS.map(lambda words: f"# {words}\n")
TABLES = st.sampled_from(
    [
        '[store]\npath = "c" # here\n',
        "[transfer]\ndownloads = 2\n\n  retries = 0\n",
        "[sources]\n'https://h/' = [\n  'https://i/', # near\n]\n",
        '[auth."h"]\nbearer_env = "X"\n',
        "[policy]\n",
        "sync.every = '1h'\n",
    ]
)


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """Manifests as people write them: tables, entries and comments in any order, blanks, any line ends."""
    parts = [part for part in draw(st.lists(TABLES, max_size=4, unique=True)) if not part.startswith("sync")]
    entries = [append("#\n", [each]).removeprefix("#\n\n") for each in draw(checkpoints("old"))]
    rest = draw(st.permutations([*parts, *entries]))
    lines = [each for part in rest for each in (*draw(st.lists(COMMENTS, max_size=2)), part)]
    text = "\n".join([draw(st.sampled_from(["", "sync.every = '1h'\n"])), *lines, draw(COMMENTS | st.just(""))])
    text = text.rstrip("\n") if draw(st.booleans()) else text
    return draw(st.sampled_from(["", "\ufeff"])) + text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@given(manifests(), checkpoints("new"))
def test_appending_keeps_every_byte_and_adds_what_was_meant(text: str, added: list[Checkpoint]) -> None:
    old = parse(text)
    found = append(text, added)
    assert found.startswith(text)
    assert parse(found) == replace(old, checkpoints=(*old.checkpoints, *added))


@given(manifests(), checkpoints("new"), checkpoints("more"))
def test_appending_twice_is_appending_once(text: str, added: list[Checkpoint], more: list[Checkpoint]) -> None:
    assert append(append(text, added), more) == append(text, [*added, *more])


# --- a key for entries that are there --------------------------------------------------------------------------------

LINE = 'in_place = "/data/x y"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENTRY, f"{ENTRY}{LINE}\n"),
        (ENTRY.rstrip("\n"), f"{ENTRY}{LINE}\n"),
        (f"{ENTRY}# why\nsize = 5\n\n# next\n[sync]\n", f"{ENTRY}{LINE}\n# why\nsize = 5\n\n# next\n[sync]\n"),
        (ENTRY.replace("\n", "\r\n"), f"{ENTRY}{LINE}\n".replace("\n", "\r\n")),
        ("\ufeff" + ENTRY, f"\ufeff{ENTRY}{LINE}\n"),
        (ENTRY.replace("url", "  url"), f"{ENTRY.replace('url', '  url')}  {LINE}\n"),
        (
            'checkpoint = [{name = "a", url = "https://h/a.pth"}] # all\n',
            f'checkpoint = [{{name = "a", url = "https://h/a.pth", {LINE}}}] # all\n',
        ),
    ],
    ids=["alone", "no line end", "comments", "CRLF", "byte order mark", "indented", "one value"],
)
def test_a_line_behind_the_url(text: str, expected: str) -> None:
    found = put_in_place(text, {"a": "/data/x y"})
    assert found == expected
    assert parse(found).checkpoints == tuple(replace(each, in_place="/data/x y") for each in parse(text).checkpoints)


def test_a_url_of_several_lines() -> None:
    text = '[[checkpoint]]\nname = "a"\nurl = """https://h/\\\n  a.pth"""  # odd\nsize = 5\n'
    found = put_in_place(text, {"a": "/x"})
    assert parse(found).checkpoints == (replace(parse(text).checkpoints[0], in_place="/x"),)
    assert "# odd" in found


@given(manifests(), st.data())
def test_only_what_was_meant_is_watched(text: str, data: st.DataObject) -> None:
    old = parse(text)
    names = [each.name for each in old.checkpoints if not each.unpack]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    paths = {name: f"/data/{name}" for name in chosen}
    found = put_in_place(text, paths)
    assert parse(found) == replace(
        old, checkpoints=tuple(replace(each, in_place=paths.get(each.name)) for each in old.checkpoints)
    )
    kept = iter(found.splitlines())
    assert all(line in kept for line in text.splitlines())  # every line is still there, in its order
