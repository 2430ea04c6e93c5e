"""Sensors: wait for leads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import PokeReturnValue, conf

from airflow_provider_pipedrive_leads.api.errors import PipedriveError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.leads.waiting.polling import DAILY_SHARE, POLL_INTERVAL
from airflow_provider_pipedrive_leads.links.deal import PipedriveDealLink
from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY
from airflow_provider_pipedrive_leads.sensors.waiting import PipedriveSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, RetryPolicy

    from airflow_provider_pipedrive_leads.leads.waiting.waits import ManyLeads, Terms

CONVERSION_POLL_INTERVAL = 30.0
BEYOND_DEADLINE = timedelta(days=1)
"""A sensor's time-out is Airflow's to raise, not the trigger's."""


class PipedriveLeadSensor(PipedriveSensor):
    """Wait until a lead has the expected values, or is gone.

    Each poke costs 2 API tokens. Deferred, all sensors of an account share one poll. A lead that does not exist is an
    error, not a reason to wait.

    :param lead_id: the lead.
    :param expected: values by API name, custom-field key or custom-field name; options and labels by name, None for
        unset. Or ``deleted``: gone, and not archived nor converted; or ``converted``: turned into a deal.
    :param deferrable: whether to wait without a worker; default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls while deferred, at least 10. A change is noticed one poll later.
    :param daily_share: the part of the company's day of API tokens that polling may take while deferred; the slower of
        the two wins. Where Pipedrive does not tell how large the day is, 30,000 tokens are assumed.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :param poke_interval: seconds between two pokes, where it is not deferred.
    :return: the lead's id.
    """

    template_fields: Sequence[str] = ("lead_id", "expected", "poll_interval", "daily_share", "pipedrive_conn_id")
    template_fields_renderers = {"expected": "json"}  # noqa: RUF012
    operator_extra_links = (PipedriveLeadLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        expected: Mapping[str, Any] | str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = POLL_INTERVAL,
        daily_share: float | str = DAILY_SHARE,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        poke_interval: timedelta | float = POLL_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, poke_interval=poke_interval, **kwargs)
        self.lead_id = lead_id
        self.expected = expected
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.daily_share = daily_share
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget
        self._hook: PipedriveLeadsHook | None = None

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002
        event: dict[str, Any] | None = None,
        deadline: str | None = None,  # noqa: ARG002
    ) -> str:
        """Go on with what the trigger found."""
        with self.never_failing():
            return _lead_ids(event)[0]

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the lead and compare."""
        from airflow_provider_pipedrive_leads.leads.waiting.first_look import look_at_lead

        _terms(self)
        self._hook = self._hook or PipedriveLeadsHook(self.pipedrive_conn_id)
        memory, key = TaskMemory(context), f"pipedrive_lead_{self.lead_id}"
        missing, wait = look_at_lead(self._hook, self.lead_id, self.expected, memory.get(key))
        memory.set(key, {"since": wait.since, "changed": wait.changed})
        if missing:
            self.log.info("Lead %s is not yet as expected: %s.", wait.lead_id, ", ".join(missing))
        return PokeReturnValue(is_done=not missing, xcom_value=wait.lead_id)

    def look_or_leave(self, deadline: str) -> str:
        """Look at the lead, and wait in the triggerer unless it is as expected."""
        import msgspec

        from airflow_provider_pipedrive_leads.leads.waiting.first_look import look_at_lead
        from airflow_provider_pipedrive_leads.triggers.leads import PipedriveLeadTrigger

        terms = msgspec.to_builtins(_terms(self))
        missing, wait = look_at_lead(PipedriveLeadsHook(self.pipedrive_conn_id), self.lead_id, self.expected)
        if missing:
            self.log.info("Lead %s is not yet as expected: %s.", wait.lead_id, ", ".join(missing))
            known = msgspec.to_builtins(wait)
            trigger = PipedriveLeadTrigger(**known, **terms, pipedrive_conn_id=self.pipedrive_conn_id)
            self.leave_for(trigger, deadline)
        return wait.lead_id


class PipedriveLeadsSensor(PipedriveSensor):
    """Wait until enough active leads match.

    Each poke costs 20 API tokens for every 500 leads that the filters leave: give ``updated_since`` in large accounts.
    Deferred, all sensors of an account share one poll, of what changed since the last. A lead that begins to match
    a saved filter without being changed itself, because a person or the calendar changed, is noticed by pokes only.

    :param min_count: how many leads have to match, 1 to 1,000.
    :param owner_id: only leads of this user.
    :param person_id: only leads of this person.
    :param organization_id: only leads of this organization.
    :param filter_id: only leads of this saved filter; Pipedrive lets it win over the three ids.
    :param updated_since: only leads with this ``update_time`` or a later one; without a zone it counts as UTC.
    :param expected: only leads with these values, named as in :class:`PipedriveLeadSensor`; default: any.
    :param deferrable: whether to wait without a worker; default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls while deferred, at least 10.
    :param daily_share: as in :class:`PipedriveLeadSensor`.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :param poke_interval: seconds between two pokes, where it is not deferred.
    :return: the ids of the matching leads, at most 1,000.
    """

    template_fields: Sequence[str] = (
        "min_count",
        "owner_id",
        "person_id",
        "organization_id",
        "filter_id",
        "updated_since",
        "expected",
        "poll_interval",
        "daily_share",
        "pipedrive_conn_id",
    )
    template_fields_renderers = {"expected": "json"}  # noqa: RUF012
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        min_count: int | str = 1,
        owner_id: int | str | None = None,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        filter_id: int | str | None = None,
        updated_since: datetime | str | None = None,
        expected: Mapping[str, Any] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = POLL_INTERVAL,
        daily_share: float | str = DAILY_SHARE,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        poke_interval: timedelta | float = POLL_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, poke_interval=poke_interval, **kwargs)
        self.min_count = min_count
        self.owner_id = owner_id
        self.person_id = person_id
        self.organization_id = organization_id
        self.filter_id = filter_id
        self.updated_since = updated_since
        self.expected = expected
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.daily_share = daily_share
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        deadline: str | None = None,
    ) -> list[str]:
        """Look once more: leads that the trigger saw match may be gone."""
        with self.never_failing():
            _lead_ids(event)
        deadline = deadline or self.time_out_at(context)
        with daily_budget(self, deadline), self.never_failing():
            return self.look_or_leave(deadline)

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Look for leads and count."""
        _terms(self)
        found = self._look()
        return PokeReturnValue(is_done=len(found.matching) >= found.min_count, xcom_value=list(found.matching))

    def _look(self) -> ManyLeads:
        from airflow_provider_pipedrive_leads.leads.waiting.first_look import look_for_leads

        found = look_for_leads(
            PipedriveLeadsHook(self.pipedrive_conn_id),
            self.min_count,
            {
                "owner_id": self.owner_id,
                "person_id": self.person_id,
                "organization_id": self.organization_id,
                "filter_id": self.filter_id,
            },
            updated_since=self.updated_since,
            expected=self.expected,
        )
        self.log.info("%d leads match; %d are waited for.", len(found.matching), found.min_count)
        return found

    def look_or_leave(self, deadline: str) -> list[str]:
        """Look for leads, and wait in the triggerer unless enough match."""
        import msgspec

        from airflow_provider_pipedrive_leads.triggers.leads import PipedriveLeadsTrigger

        terms = msgspec.to_builtins(_terms(self))
        found = self._look()
        if len(found.matching) < found.min_count:
            known = msgspec.to_builtins(found)
            trigger = PipedriveLeadsTrigger(**known, **terms, pipedrive_conn_id=self.pipedrive_conn_id)
            self.leave_for(trigger, deadline)
        return list(found.matching)


class PipedriveLeadConversionSensor(PipedriveSensor):
    """Wait until a lead has become a deal; a conversion that failed or was rejected is an error.

    Each look costs 1 API token. Where Pipedrive no longer knows the conversion, the deal is looked for.

    :param lead_id: the lead.
    :param conversion_id: the conversion, as ``hook.convert_lead_to_deal`` gives it.
    :param deferrable: whether to wait without a worker; default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks while deferred, at least 10.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the deal's id.
    """

    template_fields: Sequence[str] = ("lead_id", "conversion_id", "poll_interval", "pipedrive_conn_id")
    operator_extra_links = (PipedriveDealLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        conversion_id: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = CONVERSION_POLL_INTERVAL,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.lead_id = lead_id
        self.conversion_id = conversion_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        deadline: str | None = None,
    ) -> int:
        """Go on with what the trigger found."""
        from airflow_provider_pipedrive_leads.leads.waiting.first_look import deal_made
        from airflow_provider_pipedrive_leads.leads.writing.conversion import read_verdict

        deadline = deadline or self.time_out_at(context)
        with daily_budget(self, deadline), self.never_failing():
            check_event(event)
            hook = PipedriveLeadsHook(self.pipedrive_conn_id)
            deal_id = deal_made(hook, self.lead_id, self.conversion_id, read_verdict(event or {}))
            if deal_id is None:
                self._leave_until(deadline)
            return deal_id

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Ask how the conversion stands."""
        deal_id = self._deal_id()
        return PokeReturnValue(is_done=deal_id is not None, xcom_value=deal_id)

    def _deal_id(self) -> int | None:
        from airflow_provider_pipedrive_leads.leads.waiting.first_look import deal_made
        from airflow_provider_pipedrive_leads.leads.waiting.polling import poll_interval_value
        from airflow_provider_pipedrive_leads.leads.writing.conversion import DIRECTIONS, ask

        poll_interval_value(self.poll_interval)
        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        verdict = ask(hook, DIRECTIONS["lead"], self.lead_id, self.conversion_id)
        return deal_made(hook, self.lead_id, self.conversion_id, verdict)

    def look_or_leave(self, deadline: str) -> int:
        """Ask how the conversion stands, and wait in the triggerer unless it has ended."""
        deal_id = self._deal_id()
        if deal_id is None:
            self._leave_until(deadline)
        return deal_id

    def _leave_until(self, deadline: str) -> NoReturn:
        from airflow_provider_pipedrive_leads.leads.waiting.polling import poll_interval_value
        from airflow_provider_pipedrive_leads.triggers.conversion import PipedriveConversionTrigger

        trigger = PipedriveConversionTrigger(
            source="lead",
            source_id=self.lead_id,
            conversion_id=self.conversion_id,
            deadline=(datetime.fromisoformat(deadline) + BEYOND_DEADLINE).isoformat(),
            poll_interval=poll_interval_value(self.poll_interval),
            pipedrive_conn_id=self.pipedrive_conn_id,
        )
        self.leave_for(trigger, deadline)


def _terms(sensor: PipedriveLeadSensor | PipedriveLeadsSensor) -> Terms:
    from airflow_provider_pipedrive_leads.leads.waiting.polling import daily_share_value, poll_interval_value
    from airflow_provider_pipedrive_leads.leads.waiting.waits import Terms

    return Terms(
        poll_interval=poll_interval_value(sensor.poll_interval),
        daily_share=daily_share_value(sensor.daily_share),
        on_daily_budget=sensor.on_daily_budget,
    )


def _lead_ids(event: Mapping[str, Any] | None) -> list[str]:
    check_event(event)
    found = (event or {}).get("lead_ids")
    if not isinstance(found, list) or not found:
        raise PipedriveError("The trigger woke the task with an event that names no lead.")
    return found
