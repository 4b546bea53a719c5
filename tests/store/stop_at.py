"""Run `ckptd` as a plain user and stop it dead, as SIGKILL would, at a named step of publishing.

A process of its own, started by test_publish: imports once, then forks for every line it is sent (a JSON list of the
step, the file for stdout, and the arguments) and answers with the exit status.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from house import like_a_plain_user

import ckptd.service.fetch  # noqa: F401  # all that is slow to import, once
from ckptd.cli.main import main
from ckptd.service.ledger import Ledger
from ckptd.store import lockfile, publish
from ckptd.store.partials import Partial

STOPPED = 99
STEPS = ("proven", "settled", "recorded", "renamed", "entered", "locked", "forgotten")


def die(*_: object, **__: object) -> Any:
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


def run(step: str, output: str, arguments: list[str]) -> int:
    """One run in a process of its own; its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        like_a_plain_user()
        arm(step)
        main(arguments)
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 70)
    finally:
        os._exit(71)


if __name__ == "__main__":
    for line in sys.stdin:
        print(run(*json.loads(line)), flush=True)
