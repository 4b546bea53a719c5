"""What those who answer for a daemon need of it: the switchboard, the account of how everything stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ckptd.core.models import Outcome
from ckptd.core.roster import Roster
from ckptd.service.hub import Hub
from ckptd.service.jobs import Jobs
from ckptd.service.scrub import Scrub
from ckptd.service.tenancy import Tenancy
from ckptd.service.watchman import Watchman
from ckptd.service.workplace import Workplace


class Host(Protocol):
    """A daemon as those see it whom it answers through."""

    place: Workplace
    tenancy: Tenancy
    hub: Hub
    jobs: Jobs
    scrub: Scrub
    roster: Roster
    watchman: Watchman
    started: float  # POSIX seconds
    config_error: str  # empty: the manifest in force is the one that is there

    def summary(self) -> str:
        """What runs now, in a line."""
        ...

    async def heed(self, manifest: str) -> None:
        """Before work that a caller asks for by `manifest`. Raises BusyError, ConfigError, StorageError."""
        ...

    async def heed_damage(self, outcomes: Sequence[Outcome], *, mend: bool = True) -> list[Outcome]:
        """Do with what is damaged what the policy says (without `mend`: if it needs no origin), and tell."""
        ...

    async def refresh_lock(self) -> None:
        """Know what is locked now."""
        ...

    async def follow(self, outcomes: Iterable[Outcome]) -> None:
        """Keep the config files of `[[use]]` pointing at what is there now."""
        ...
