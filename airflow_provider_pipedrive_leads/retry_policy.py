"""How Airflow retries a task of this provider."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context


class PipedriveRetryPolicy(RetryPolicy):
    """Retry when Pipedrive says it makes sense, and fail at once when it makes none.

    * Too many calls: the scheduler waits as long as Pipedrive asks; no worker slot is held meanwhile.
    * A wrong token, an unknown lead, a bad value, a spent day: failed at once, retries left or not.
    * Something new whose outcome is unknown, where no operator could settle it: failed at once, for a retry could make
      a second one. What operators of this provider create they look for first, so that they can be tried again.
    * Everything else: the task's own ``retries`` and ``retry_delay``.

    It is the default of every operator and sensor of this provider; ``retry_policy=None`` switches it off. It cannot
    give a task more tries than its ``retries``.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Turn the pure decision into Airflow's form."""
        from airflow_provider_pipedrive_leads.api.retries import after_failure

        decision = after_failure(exception, chance=random.random())  # noqa: S311 - jitter
        if decision.retry is None:
            return RetryDecision.default()
        if not decision.retry:
            return RetryDecision.fail(decision.reason)
        delay = None if decision.delay is None else timedelta(seconds=decision.delay)
        return RetryDecision.retry(delay, decision.reason)

    def serialize(self) -> dict[str, Any]:
        """There is nothing to keep."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PipedriveRetryPolicy:  # noqa: ARG003
        """There is nothing to restore."""
        return cls()


PIPEDRIVE_RETRY_POLICY = PipedriveRetryPolicy()
"""The one instance that stands in the operators' signatures."""
