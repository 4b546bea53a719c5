"""What the origins of checkpoints publish of them, asked without fetching a body."""

from __future__ import annotations

from ckptd.core.drift import Answer
from ckptd.core.models import Checkpoint, Manifest
from ckptd.core.urls import normalise, rewrite
from ckptd.transfer.inquire import Inquirer


async def published(inquirer: Inquirer, manifest: Manifest, checkpoint: Checkpoint) -> Answer | None:
    """The answer of the first source of `checkpoint` that publishes a digest, else of the first that says anything.

    None where none does. Raises ConfigError (a token that cannot be read).
    """
    found = None
    for url in rewrite(normalise(checkpoint.url), manifest.sources):
        answer = await inquirer.ask(url)
        if answer.witnesses:
            return answer
        if found is None and answer.speaks:
            found = answer
    return found
