"""Who may ask the daemon for what, and how many at once."""

from __future__ import annotations

import pytest

from ckptd.core import wire
from ckptd.core.permit import MOST, MOST_OF_ONE, Peer, crowded, permitted

OWNER, ROOT, GROUP = 1000, 0, 50
WHO = {
    "owner": Peer(OWNER, frozenset({1})),
    "root": Peer(ROOT, frozenset({0})),
    "member": Peer(1001, frozenset({1001, GROUP})),
    "stranger": Peer(1002, frozenset({1002})),
}
READ = {"hello": (), "status": (), "watch": ()}
ASK = {"sync": (), "sync --locked": ("locked",), "verify": (), "verify --sha256": ("sha256",)}
CHANGE = {"update": (), "verify --repair": ("repair",)}


@pytest.mark.parametrize("command", [*READ, *ASK, *CHANGE])
@pytest.mark.parametrize("who", WHO)
def test_table(who: str, command: str) -> None:
    """The group may read and ask for what the manifest names; only owner and root change anything."""
    options = (READ | ASK | CHANGE)[command]
    why = permitted(WHO[who], command.split(maxsplit=1)[0], owner=OWNER, group=GROUP, options=options)
    allowed = who in {"owner", "root"} or (who == "member" and command not in CHANGE)
    assert (why == "") is allowed
    if why:
        assert "owner" in why


@pytest.mark.parametrize("command", wire.COMMANDS)
def test_without_a_group_nobody_else(command: str) -> None:
    for who, peer in WHO.items():
        why = permitted(peer, command, owner=OWNER, group=None)
        assert (why == "") is (who in {"owner", "root"})


def test_root_in_a_group_number_zero() -> None:
    """Group 0 is a group like any other, and being in it makes nobody root."""
    assert permitted(Peer(1003, frozenset({0})), "update", owner=OWNER, group=0)
    assert not permitted(Peer(1003, frozenset({0})), "sync", owner=OWNER, group=0)


def test_an_unknown_command_is_not_for_members() -> None:
    assert permitted(WHO["member"], "prune", owner=OWNER, group=GROUP)


@pytest.mark.parametrize(
    ("uid", "others", "too_many"),
    [
        (1001, [], False),
        (1001, [1001] * (MOST_OF_ONE - 1), False),
        (1001, [1001] * MOST_OF_ONE, True),
        (1002, [1001] * MOST_OF_ONE, False),
        (1001, [OWNER] * MOST, False),
        (1001, list(range(2000, 2000 + MOST)), True),
        (OWNER, list(range(2000, 2000 + MOST)), False),
        (ROOT, [1001] * MOST, False),
        (OWNER, [OWNER] * (MOST - 1), False),
        (OWNER, [OWNER, ROOT] * (MOST // 2), True),
    ],
)
def test_a_crowd(uid: int, others: list[int], *, too_many: bool) -> None:
    """No user shuts out another, and nobody the owner."""
    assert bool(crowded(uid, others, OWNER)) is too_many
