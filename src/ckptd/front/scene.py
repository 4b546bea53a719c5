"""Everything that the page shows at one moment, and all of it in one sentence. Values; draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ckptd.core.incidents import Kind
from ckptd.core.picture import Row
from ckptd.core.report import Tone

HERE = frozenset({"present", "touched"})  # states of `ckptd status` in which a checkpoint can be used


@dataclass(frozen=True, slots=True)
class Scene:
    """`account` is the daemon's (`service.account`), with its checkpoints.

    `work`: what runs. `uses`: paths to use where that is not the file, by name. `about`: descriptions and tags by name.
    `kept`: bytes that the promise is about.
    """

    account: Mapping[str, Any]
    work: tuple[Row, ...]
    uses: Mapping[str, str]
    about: Mapping[str, tuple[str, tuple[str, ...]]]
    kept: int
    host: str

    @property
    def now(self) -> float:
        """POSIX seconds."""
        return float(self.account["now"])

    @property
    def checkpoints(self) -> list[Mapping[str, Any]]:
        """All of the manifest, in its order."""
        return list(self.account["checkpoints"])

    def incidents(self, kind: Kind) -> Iterator[str]:
        """The names that something of this kind is wrong with; empty for all of the store."""
        return (each["name"] for each in self.account["incidents"] if each["kind"] == kind)


def damaged(scene: Scene) -> list[str]:
    """The checkpoints that must not be used, sorted."""
    states = (each["name"] for each in scene.checkpoints if each["state"] == "damaged")
    return sorted({*states, *scene.incidents(Kind.DAMAGE)})


def headline(scene: Scene) -> tuple[Tone, str]:
    """How everything stands in a sentence, and how alarming that is."""
    found = scene.checkpoints
    bad, here = damaged(scene), sum(each["state"] in HERE for each in found)
    if bad:
        return Tone.BAD, f"{bad[0]} is damaged." if len(bad) == 1 else f"{len(bad)} checkpoints are damaged."
    if scene.account["config_error"]:
        return Tone.NOTE, "The manifest cannot be read; the one before it is in force."
    if not found:
        return Tone.NOTE, "The manifest names no checkpoints yet."
    if here < len(found):
        one = f"{found[0]['name']} is not here yet."
        return Tone.NOTE, one if len(found) == 1 else f"{here} of {len(found)} checkpoints are here."
    all_here = f"{found[0]['name']} is here" if len(found) == 1 else f"All {len(found)} checkpoints are here"
    drifted = sorted(scene.incidents(Kind.DRIFT))
    if drifted:
        others = f"the origins of {len(drifted)} have changed" if len(drifted) > 1 else f"{drifted[0]} has changed"
        return Tone.NOTE, f"{all_here}; {others} upstream."
    if not scene.account["promise"]["kept"]:
        return Tone.NOTE, f"{all_here}; not every byte was verified in time."
    if scene.account["incidents"]:
        return Tone.NOTE, f"{all_here}; something else is wrong."
    return Tone.GOOD, f"{all_here} and verified."
