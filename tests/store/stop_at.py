"""Run `ckptd` as a plain user and stop it dead, as SIGKILL would, at a named step of publishing. Run by test_publish."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from house import like_a_plain_user

from ckptd.cli.main import main
from ckptd.service.ledger import Ledger
from ckptd.store import lockfile, publish
from ckptd.store.partials import Partial

STOPPED = 99
STEPS = ("proven", "settled", "recorded", "renamed", "entered", "locked", "forgotten")


def die(*_: object, **__: object) -> Any:  # noqa: ANN401
    os._exit(STOPPED)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, and then no more."""

    def wrapper(*args: object, **more: object) -> None:
        function(*args, **more)
        die()

    return wrapper


def arm(step: str) -> None:
    """Stop right after `step`."""
    digests = Partial.digests

    async def noted(self: Partial, total: int) -> dict[str, bytes]:
        await self.remember(force=True)  # as a download of more than a quarter of a second does
        return await digests(self, total)

    Partial.digests = noted  # type: ignore[method-assign]
    if step == "proven":
        publish.settle = die
    elif step == "settled":
        publish.settle = after(publish.settle)
    elif step == "recorded":
        publish.publish = die
    elif step == "renamed":
        publish.publish = after(publish.publish)
    elif step == "entered":
        lockfile.write = die
    elif step == "locked":
        lockfile.write = after(lockfile.write)
    elif step == "forgotten":
        Ledger.write = _written  # type: ignore[method-assign]


_write = Ledger.write


async def _written(self: Ledger) -> None:
    done = bool(self._done)
    await _write(self)
    if done:
        await self._state.do(lambda database: None, durable=True)
        die()


if __name__ == "__main__":
    like_a_plain_user()
    arm(sys.argv[1])
    main(sys.argv[2:])
