"""Starting DAGs when leads change: a trigger for the watcher of an asset."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_pipedrive_leads.leads.waiting.change_wishes import (
    DEFAULT_FIELDS,
    DEFAULT_KINDS,
    expected_value,
    fields_value,
    kinds_value,
    links_value,
    most_leads_value,
)
from airflow_provider_pipedrive_leads.leads.waiting.polling import (
    DAILY_SHARE,
    POLL_INTERVAL,
    daily_share_value,
    poll_interval_value,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
    from airflow_provider_pipedrive_leads.leads.waiting.change_events import Wishes
    from airflow_provider_pipedrive_leads.leads.waiting.changes import Cursor
    from airflow_provider_pipedrive_leads.triggers.leads_stream import Batch, LeadsProducer, Watcher


class LeadsChangedEvent(TriggerEvent):
    """An event that prints without the leads' data: Airflow writes each one to the triggerer's log."""

    def __repr__(self) -> str:
        return f"LeadsChangedEvent<{[lead['event_id'] for lead in self.payload['leads']]}>"

    __str__ = __repr__


class PipedriveLeadsChangedTrigger(BaseEventTrigger):
    """Fires when leads change: for the ``AssetWatcher`` of an asset on which a DAG is scheduled.

    An event is ``{"status": "success", "leads": [{"id", "kind", "event_id", fields…}], "count", "more", "watermark"}``:
    leads as they were when Pipedrive was polled, oldest change first. ``more`` of them come in further events, one
    every 10 seconds, and ``watermark`` is the latest ``update_time`` that was told. In a DAG run it is the ``payload``
    of an asset event's ``extra``. Each change is told at least once; one that is told again, after a triggerer was
    killed, has the same ``event_id``.

    A new watcher begins now; one with another account, kinds or filters is a new one. How far it has come is kept in
    the state store of its asset. All triggers of a connection that run in one triggerer share one poll, which costs 20
    API tokens, and 40 more if one of them wants to hear of archived leads. Give each asset one watcher: of events that
    come to an asset at the same moment, Airflow 3.3 starts a run with the first, and keeps the others for the next run.

    Not told, because a poll sees leads as they are: deleted and converted leads, values before a change, states between
    two polls, and that a lead was restored, which is told as ``updated``.

    :param on: which changes: ``created``, ``updated``, ``archived``. Default: created and updated ones.
    :param fields: what is told of a lead, by API name, custom-field key or custom-field name; options by label, and
        labels by name under ``labels``. Default: title, owner, person, organization and value.
    :param expected: only leads that have these values after the change; as ``PipedriveLeadSensor`` takes them.
    :param owner_id: only leads of this user.
    :param person_id: only leads of this person.
    :param organization_id: only leads of this organization.
    :param poll_interval: seconds between two polls, at least 10.
    :param daily_share: the part of the company's API tokens of a day that polling may cost; if ``poll_interval`` would
        cost more, polls are further apart.
    :param max_leads: leads in an event, at most 1000; the rest comes in further events.
    :param pipedrive_conn_id: the Airflow connection.
    :raises PipedriveValidationError: a parameter cannot be right.
    """

    def __init__(
        self,
        *,
        on: Sequence[str] | set[str] | frozenset[str] = DEFAULT_KINDS,
        fields: Sequence[str] = DEFAULT_FIELDS,
        expected: Mapping[str, Any] | None = None,
        owner_id: int | str | None = None,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        poll_interval: float = POLL_INTERVAL,
        daily_share: float = DAILY_SHARE,
        max_leads: int = 100,
        pipedrive_conn_id: str = "pipedrive_default",
    ) -> None:
        super().__init__()
        links = links_value(owner_id=owner_id, person_id=person_id, organization_id=organization_id)
        self.on = kinds_value(on)
        self.fields = fields_value(fields)
        self.expected = expected_value(expected)
        self.owner_id = links.get("owner_id")
        self.person_id = links.get("person_id")
        self.organization_id = links.get("organization_id")
        self.poll_interval = poll_interval_value(poll_interval)
        self.daily_share = daily_share_value(daily_share)
        self.max_leads = most_leads_value(max_leads)
        self.pipedrive_conn_id = pipedrive_conn_id
        self._links = links
        self._watcher: Watcher | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what rebuilds this trigger; it holds no secret."""
        names = (
            *("on", "fields", "expected", "owner_id", "person_id", "organization_id"),
            *("poll_interval", "daily_share", "max_leads", "pipedrive_conn_id"),
        )
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> tuple[str, str]:
        """Triggers of one connection share one poll."""
        return ("pipedrive leads", self.pipedrive_conn_id)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> LeadsProducer:
        """Make what polls for all triggers of the stream."""
        from airflow_provider_pipedrive_leads.triggers.leads_stream import LeadsProducer, stream_of

        return LeadsProducer(kwargs["pipedrive_conn_id"], stream_of(cls(**kwargs).shared_stream_key()))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Batch]) -> AsyncIterator[TriggerEvent]:
        """Yield the events that tell what is new to this trigger in each poll."""
        from airflow_provider_pipedrive_leads.triggers.leads_stream import stream_of

        watcher = self._watcher = await self._as_watcher()
        stream_of(self.shared_stream_key()).enter(watcher)
        try:
            async for batch in shared_stream:
                if watcher in batch.begun:
                    payload = watcher.next_event(batch, self.max_leads)
                    if payload is not None:
                        yield LeadsChangedEvent(payload=payload)
                    batch.handled[watcher] = watcher.reached()
        finally:
            await self.cleanup()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same for this trigger alone, where no stream is shared; events are taken as stored when asked on."""
        producer = self.create_shared_stream_producer(self.serialize()[1])
        try:
            async for event in self.filter_shared_stream(_alone(producer)):
                yield event
        finally:
            await producer.aclose()

    async def cleanup(self) -> None:
        """Take no part in the stream any more."""
        from airflow_provider_pipedrive_leads.triggers.leads_stream import stream_of

        if self._watcher is not None:
            stream_of(self.shared_stream_key()).leave(self._watcher)

    async def _as_watcher(self) -> Watcher:
        from airflow_provider_pipedrive_leads.triggers.leads_stream import Watcher

        name = f"the trigger {self.trigger_id} ({', '.join(self.on)})"
        pace = (self.poll_interval, self.daily_share)
        cursor = await self._kept_cursor()
        return Watcher(name, kinds=self.on, read_wishes=self._wishes, cursor=cursor, keep=self._keep, pace=pace)

    def _wishes(self, hook: PipedriveLeadsHook) -> Wishes:
        from airflow_provider_pipedrive_leads.leads.waiting.change_events import Wishes, describer
        from airflow_provider_pipedrive_leads.leads.waiting.expecting import compile_expectation

        matches = compile_expectation(hook, self.expected) if self.expected else lambda _: True
        return Wishes(self.on, self._links, matches, describer(self.fields, hook.catalogue))

    def _state_key(self) -> str:
        """Name the cursor: the same for the same account and the same filters."""
        what = json.dumps([self.pipedrive_conn_id, self.on, self.expected, self._links])
        return f"pipedrive_leads_changed_{hashlib.sha256(what.encode()).hexdigest()[:16]}"

    def _stores(self) -> list[Any]:
        """The state stores of the assets: several if one trigger serves several assets, which Airflow then merges."""
        stores = self.asset_state_store
        return [] if stores is None else list(stores._by_name.values())  # noqa: SLF001 - no public way names them

    async def _kept_cursor(self) -> Cursor | None:
        """Where the trigger had come to in an earlier life; the oldest if its assets differ."""
        import msgspec

        from airflow_provider_pipedrive_leads.leads.waiting.changes import Cursor

        key, found = self._state_key(), []
        for store in self._stores():
            if (kept := await store.aget(key)) is not None:
                try:
                    found.append(msgspec.convert(kept, Cursor))
                except msgspec.ValidationError as problem:
                    self.log.warning("What is kept under %s cannot be read (%s): beginning now.", key, problem)
        return min(found, key=lambda cursor: cursor.since, default=None)

    async def _keep(self, cursor: Cursor) -> None:
        import msgspec

        for store in self._stores():
            await store.aset(self._state_key(), msgspec.to_builtins(cursor))


async def _alone(producer: LeadsProducer) -> AsyncIterator[Batch]:
    from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

    async for batch, payload in producer.open_stream():
        yield batch
        await producer.advance([AdvanceItem(payload, AdvanceOutcome(acked=1, failed=0))])
