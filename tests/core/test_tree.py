"""Trees: their rendering, and the difference to what is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.core.tree import TOP, Differences, Found, Kind, Tree, TreeMember, compare, from_json, to_json, tree_of

FILE = TreeMember("d/f", Kind.FILE, 3, "ab" * 32, mode=0o444)
FOLDER = TreeMember("d", Kind.FOLDER, mode=0o755)
LINK = TreeMember("l", Kind.LINK, target="d/f")
TREE = tree_of({each.path: each for each in (LINK, FILE, FOLDER)})


def found(*members: TreeMember, **unreadable: str) -> Found:
    return Found(tree_of({each.path: each for each in members}), unreadable)


def test_rendering() -> None:
    assert to_json(TREE) == (
        '{"members":[{"kind":"folder","mode":"0755","path":"d"},'
        f'{{"kind":"file","mode":"0444","path":"d/f","sha256":"{"ab" * 32}","size":3}},'
        '{"kind":"link","path":"l","target":"d/f"}],"schema":1,"size":3}\n'
    )


_NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=6)
_PATH = st.lists(_NAME, min_size=1, max_size=3).map("/".join)
_SHA256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
_MEMBER = st.one_of(
    st.builds(TreeMember, _PATH, st.just(Kind.FILE), st.integers(0, 2**60), _SHA256, mode=st.just(0o444)),
    st.builds(TreeMember, _PATH, st.just(Kind.FOLDER), mode=st.sampled_from([0o755, 0o2755])),
    st.builds(TreeMember, _PATH, st.just(Kind.LINK), target=_PATH),
)


@given(st.lists(_MEMBER, max_size=6))
def test_what_is_rendered_is_read_back(members: list[TreeMember]) -> None:
    tree = tree_of({each.path: each for each in members})
    assert from_json(to_json(tree)) == tree


NOT_A_TREE = {
    "empty": "",
    "cut": to_json(TREE)[:-9],
    "no-line-feed": to_json(TREE)[:-1],
    "spaces": to_json(TREE).replace('"size":3', '"size": 3'),
    "other-size": to_json(TREE).replace('"size":3}\n', '"size":4}\n'),
    "size-as-text": to_json(TREE).replace('"size":3}', '"size":"3"}'),
    "unsorted": to_json(Tree(TREE.members[::-1], TREE.size)),
    "twice": to_json(Tree((*TREE.members, LINK), TREE.size)),
    "later-schema": to_json(TREE).replace('"schema":1', '"schema":2'),
    "unknown-kind": to_json(TREE).replace('"link"', '"door"'),
    "list": "[]\n",
    "number": "7\n",
    "nested": "[" * 100_000,
}


@pytest.mark.parametrize("text", NOT_A_TREE.values(), ids=NOT_A_TREE)
def test_what_is_no_rendering(text: str) -> None:
    assert from_json(text) is None


OTHER = TreeMember("d/f", Kind.FILE, 3, "cd" * 32, mode=0o444)
COMPARED = {
    "same": (found(FILE, FOLDER, LINK), Differences()),
    "added": (found(FILE, FOLDER, LINK, TreeMember("x", Kind.OTHER)), Differences(added=("x",))),
    "missing": (found(FOLDER, LINK), Differences(missing=("d/f",))),
    "folder-missing": (found(LINK), Differences(missing=("d", "d/f"))),
    "changed": (found(OTHER, FOLDER, LINK), Differences(changed=("d/f",))),
    "longer": (
        found(TreeMember("d/f", Kind.FILE, 4, "ab" * 32, mode=0o444), FOLDER, LINK),
        Differences(changed=("d/f",)),
    ),
    "another-kind": (found(FILE, FOLDER, TreeMember("l", Kind.FOLDER, mode=0)), Differences(changed=("l",))),
    "another-target": (found(FILE, FOLDER, TreeMember("l", Kind.LINK, target="x")), Differences(changed=("l",))),
    "mode": (found(FILE, TreeMember("d", Kind.FOLDER, mode=0o777), LINK), Differences(modes=("d",))),
    "mode-and-content": (
        found(TreeMember("d/f", Kind.FILE, 3, "", mode=0o666), FOLDER, LINK),
        Differences(changed=("d/f",)),
    ),
    "unreadable-file": (
        found(TreeMember("d/f", Kind.FILE), FOLDER, LINK, **{"d/f": "Input/output error"}),
        Differences(unreadable=("d/f",)),
    ),
    "unreadable-folder": (found(FOLDER, LINK, d="Permission denied"), Differences(unreadable=("d",))),
    "unreadable-stranger": (
        found(FILE, FOLDER, LINK, TreeMember("x", Kind.FILE), x="Permission denied"),
        Differences(unreadable=("x",)),
    ),
    "all-unreadable": (found(**{TOP: "Permission denied"}), Differences(unreadable=(TOP,))),
    "owner-may-write": (
        found(TreeMember("d/f", Kind.FILE, 3, "ab" * 32, mode=0o644), FOLDER, LINK),
        Differences(modes=("d/f",)),
    ),
    "others-may-not-read": (
        found(TreeMember("d/f", Kind.FILE, 3, "ab" * 32, mode=0o440), FOLDER, LINK),
        Differences(modes=("d/f",)),
    ),
    "set-group-ID-of-a-folder": (found(FILE, TreeMember("d", Kind.FOLDER, mode=0o2755), LINK), Differences()),
    "set-user-ID-of-a-file": (
        found(TreeMember("d/f", Kind.FILE, 3, "ab" * 32, mode=0o4444), FOLDER, LINK),
        Differences(modes=("d/f",)),
    ),
    "top": (replace(found(FILE, FOLDER, LINK), mode=0o755), Differences()),
    "shared-top": (replace(found(FILE, FOLDER, LINK), mode=0o2755), Differences()),
    "top-that-all-may-write": (replace(found(FILE, FOLDER, LINK), mode=0o777), Differences(modes=(TOP,))),
    "something-else": (replace(found(), instead="a link"), Differences(instead="a link")),
    "nothing": (found(), Differences(missing=("d", "d/f", "l"))),
}


@pytest.mark.parametrize(("there", "differences"), COMPARED.values(), ids=COMPARED)
def test_compare(there: Found, differences: Differences) -> None:
    assert compare(TREE, there) == differences
    only_modes = Differences(modes=differences.modes)
    assert differences.intact is (differences == only_modes)
