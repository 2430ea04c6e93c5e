"""What operators that read leads share: their parameters as values, and the state that one run leaves for the next."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import Asset

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory, run_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
    from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
    from airflow_provider_pipedrive_leads.leads.reading.deleted import KnownIds
    from airflow_provider_pipedrive_leads.leads.reading.export import Exported, Window
    from airflow_provider_pipedrive_leads.leads.reading.incremental import Past, Store

log = logging.getLogger(__name__)


class ReadsLeads(Protocol):
    """The parameters of an operator that reads leads."""

    owner_id: int | str | None
    person_id: int | str | None
    organization_id: int | str | None
    filter_id: int | str | None
    updated_since: datetime | str | None
    archived: str
    incremental: bool | str
    full_refresh: bool | str
    watermark_asset: Asset | None
    detect_deleted: bool | str
    columns: str | Sequence[str]
    pipedrive_conn_id: str
    inlets: list[Any]
    outlets: list[Any]


def selection_of(task: ReadsLeads) -> Selection:
    """Which leads a task reads."""
    from airflow_provider_pipedrive_leads.leads.reading.complete import Selection

    return Selection(
        owner_id=task.owner_id,
        person_id=task.person_id,
        organization_id=task.organization_id,
        filter_id=task.filter_id,
        updated_since=task.updated_since,
        archived=task.archived,
    )


class LeadStream:
    """Where this run begins, and what it leaves for the next one.

    :param destination: where the leads go, the same for all runs.
    :param ids_kept: whether the ids of the last read are kept in the asset's state, for the detection of deleted leads.
    :ivar window: what is known before the read.
    :ivar past: what earlier runs left; None where nothing is kept.
    :ivar run_key: names this run: the same for all its tries.
    :raises PipedriveConfigError: parameters that do not go together, or a state that cannot be read.
    """

    def __init__(
        self, task: ReadsLeads, context: Context, hook: PipedriveLeadsHook, destination: str, *, ids_kept: bool
    ) -> None:
        from airflow_provider_pipedrive_leads.api.values import bool_value
        from airflow_provider_pipedrive_leads.leads.reading.incremental import past_of, stream_key

        self.incremental = bool_value("incremental", task.incremental)
        self.full_refresh = bool_value("full_refresh", task.full_refresh)
        self.detect_deleted = bool_value("detect_deleted", task.detect_deleted)
        self._check(task)
        selection = selection_of(task)
        self.run_key = run_key(context)
        self.past: Past | None = None
        self._store: Store | None = None
        asset = self._asset(task, needed=self.incremental or (self.detect_deleted and ids_kept))
        if asset is not None:
            self._store = context["asset_state_store"][asset]
            self._runs = TaskMemory(context)
            self._first_try = context["ti"].try_number == 1
            company = hook.get_conn().settings.base_url
            self.key = stream_key(task.pipedrive_conn_id, company, selection, _stable(context, destination))
            self.past = past_of(self._store, self.key, fresh=self.full_refresh)
        self.window = self._window()

    def _window(self) -> Window:
        from airflow_provider_pipedrive_leads.leads.reading.export import Window
        from airflow_provider_pipedrive_leads.leads.reading.incremental import window_start

        if self.past is None:
            return Window()
        since = None
        if self.incremental:
            since = window_start(
                self._runs, self.key, self.past, full_refresh=self.full_refresh, first_try=self._first_try
            )
        return Window(
            changed_since=None if self.detect_deleted else since,
            delivered_since=since if self.detect_deleted else None,
            moves_unseen=self.past.moves_unseen,
            expected=self.past.size,
        )

    def check_place(self, path: str) -> None:
        """Find out whether this run's file would take the place of an earlier run's.

        :raises PipedriveConfigError: it would.
        """
        from airflow_provider_pipedrive_leads.leads.reading.incremental import check_place

        brings_changes = self.window.changed_since or self.window.delivered_since
        if self.past is not None and brings_changes:
            check_place(self.past, path, self.run_key)

    def known_ids(self, place: ObjectStoragePath, max_deleted: float | str) -> KnownIds | None:
        """The ids that tell which leads are gone, kept beside the exported file; None if nobody wants to know."""
        from airflow_provider_pipedrive_leads.leads.reading.deleted import KnownIds
        from airflow_provider_pipedrive_leads.leads.reading.incremental import past_at_first_try

        if not self.detect_deleted or self.past is None:
            return None
        past = past_at_first_try(self._runs, self.key, self.past)
        mark = hashlib.sha256(self.run_key.encode()).hexdigest()[:12]
        return KnownIds(
            [type(place)(each) for each in reversed(past.ids)],
            place.with_name(f".{place.name}.{mark}.ids"),
            max_deleted=max_deleted,
            since=past.ids_read_at,
        )

    def finish(
        self, exported: Exported, began: str | None, known: KnownIds | None = None, *, path: str | None = None
    ) -> None:
        """Leave to the next run what it needs to know; called when the leads are safely at their destination.

        :param began: Pipedrive's clock when this run began to read; None if it is not known.
        :param known: keeps the ids of this read, for the detection of deleted leads.
        :param path: the file that was written.
        """
        import msgspec
        from airflow.sdk.exceptions import AirflowRuntimeError

        from airflow_provider_pipedrive_leads.leads.reading.incremental import after, next_watermark, past_of

        if self._store is None:
            return
        ids = None
        if known is not None:
            known.keep(exported.ids)
            ids = (str(known.now), began)
        if began is None and self.incremental:
            log.warning("Pipedrive's replies do not tell its time: the watermark stays, the next run reads as much.")

        past = past_of(self._store, self.key, fresh=self.full_refresh)
        moves = self.incremental or self.detect_deleted
        left = after(
            past,
            watermark=next_watermark(began, exported.updated_until) if moves else None,
            moves_unseen=exported.moves_unseen,
            size=exported.active if self.window.changed_since is None else None,
            ids=ids,
            published=None if path is None else (path, self.run_key),
        )
        try:
            self._store.set(self.key, msgspec.to_builtins(left))
        except AirflowRuntimeError as problem:
            if self.incremental or self.detect_deleted:
                raise
            log.info("The size of this export is not kept for the next one: %s", problem)
        if known is not None:
            known.forget(set(past.ids) - set(left.ids))

    def _check(self, task: ReadsLeads) -> None:
        if self.incremental and task.updated_since not in (None, ""):
            raise PipedriveConfigError("incremental, updated_since: give one of them; each says where the read begins.")
        if self.full_refresh and not self.incremental:
            raise PipedriveConfigError("full_refresh: without incremental=True every run reads everything.")
        if not self.detect_deleted:
            return
        filters = [name for name in ("owner_id", "person_id", "organization_id", "filter_id") if getattr(task, name)]
        filters += ["updated_since"] if task.updated_since not in (None, "") else []
        filters += ["archived"] if task.archived != "include" else []
        if filters:
            raise PipedriveConfigError(
                f"detect_deleted: does not go with {', '.join(filters)}: a lead that a filter hides is not deleted."
            )

    def _asset(self, task: ReadsLeads, *, needed: bool) -> Asset | None:
        """The asset in whose state this stream is kept; None if there is none and none is needed."""
        if task.watermark_asset is not None:
            if task.watermark_asset not in [*task.inlets, *task.outlets]:
                raise PipedriveConfigError(
                    f"watermark_asset: {task.watermark_asset.name!r} must be among the task's outlets or inlets, or"
                    " Airflow does not give access to its state."
                )
            return task.watermark_asset
        assets = [outlet for outlet in task.outlets if isinstance(outlet, Asset)]
        if len(assets) == 1:
            return assets[0]
        if needed:
            raise PipedriveConfigError(
                f"watermark_asset: the task has {len(assets)} Asset outlets; name the one in whose state the watermark"
                " is kept. An outlet is added by outlets=[Asset(…)]."
            )
        return None


def _stable(context: Context, destination: str) -> str:
    ti = context["ti"]
    return f"{ti.dag_id} {ti.task_id} {destination}"


def report(task: ReadsLeads, context: Context, facts: Mapping[str, Any]) -> None:
    """Tell what was done to whoever waits for the task's outlet assets."""
    for outlet in task.outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra = dict(facts)
