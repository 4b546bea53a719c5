"""How an attempt ends badly: with a kind that `core.retry` judges, and the error to show if it was the last."""

from __future__ import annotations

from ckptd.core.retry import Failure
from ckptd.errors import CkptdError


class TransferFailed(Exception):  # noqa: N818  # it is an outcome of an attempt, not a fault of the program
    """An attempt failed. `retry_after` in seconds is what the origin asked for, `status` what it answered."""

    def __init__(
        self,
        failure: Failure,
        error: CkptdError,
        *,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(error.message)
        self.failure = failure
        self.error = error
        self.retry_after = retry_after
        self.status = status
