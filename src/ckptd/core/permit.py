"""Who may ask the daemon for what, and how many at once: decided by the peers' credentials alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

ROOT = 0
READING = frozenset({"hello", "status", "watch"})
ASKING = frozenset({"sync", "verify"})  # of what the manifest names, as it stands
MOST_OF_ONE = 25  # connections of one user who is neither owner nor root
MOST = 100  # of all of these; and of owner and root, whom nobody else can shut out


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of the socket, by the kernel's word (SO_PEERCRED, SO_PEERGROUPS)."""

    uid: int
    gids: frozenset[int]
    pid: int = 0


def permitted(peer: Peer, command: str, *, owner: int, group: int | None, options: Collection[str] = ()) -> str:
    """Why `peer` may not have `command`; empty when it may.

    The daemon's own user and root may everything; members of the store's group may read, and ask for what the manifest
    names. To change anything (a locked digest, a damaged file) is the owner's.
    """
    if peer.uid in {owner, ROOT}:
        return ""
    member = group is not None and group in peer.gids
    changing = "repair" in options
    if member and (command in READING or (command in ASKING and not changing)):
        return ""
    if member:
        return f"only the owner of the store and root may ask for `{command}{' --repair' if changing else ''}`"
    return "only the owner of the store, its group ([store] group) and root may talk to this daemon"


def crowded(uid: int, others: Sequence[int], owner: int) -> str:
    """Why one more caller with `uid` is too many, beside those whose uids are `others`; empty when it is not."""
    ours = {owner, ROOT}
    alike = [each for each in others if (each in ours) is (uid in ours)]
    if len(alike) >= MOST or (uid not in ours and alike.count(uid) >= MOST_OF_ONE):
        return "too many callers at once"
    return ""
