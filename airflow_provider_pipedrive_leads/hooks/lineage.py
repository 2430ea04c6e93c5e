"""What hooks and operators tell Airflow's lineage: whose leads were read or written, and to which file or table.

Airflow gathers it only where something reads it, such as the OpenLineage provider. It is never in the way: no call is
made for it, and whatever goes wrong in it ends in the debug log.
"""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from airflow_provider_pipedrive_leads.api.connection import OAuthApp
from airflow_provider_pipedrive_leads.assets.leads import DOMAIN, SCHEME, company_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.openlineage.facet import Dataset, OutputDataset
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Connection, ObjectStoragePath

    from airflow_provider_pipedrive_leads.api.endpoints import Call
    from airflow_provider_pipedrive_leads.api.replies import Reply
    from airflow_provider_pipedrive_leads.files.table import Column
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

log = logging.getLogger(__name__)
_reporting = threading.Lock()
"""One for all hooks: the collector is one too, and a hook without a lock of its own can be copied."""

Direction = Literal["input", "output"]
BOTH = 2
LOCAL_PROTOCOLS = ("", "file", "local")
OPENLINEAGE_SCHEMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""One store, one name, whatever the library that reached it."""
READING = re.compile(r"/(v1|api/v1|api/v2)/leads(/[^/]+)?")
WRITING = re.compile(r"/(v1|api/v1|api/v2)/(leads(/[^/]+(/convert/deal)?)?|deals/[^/]+/convert/lead)")
CURRENT_USER = re.compile(r"/(v1|api/v1)/users/me")
LEADS_OWN_ADDRESS = re.compile(r"(.+)\+[0-9]+\+lead[0-9a-z]+@pipedrivemail\.com", re.IGNORECASE)
"""Of ``cc_email``: company domain, company id, lead (docs/pipedrive-api.md, "The object")."""


def direction_of(call: Call) -> Direction | None:
    """Say whether a call reads leads (``input``), writes them (``output``: conversions too), or neither."""
    if call.method == "GET":
        return "input" if READING.fullmatch(call.path) else None
    return "output" if WRITING.fullmatch(call.path) else None


def company_at(url: str) -> str | None:
    """Name the company whose own host a URL is on; None for hosts that are shared or not Pipedrive's."""
    host = urlsplit(url).hostname or ""
    return company_named(host) if host.endswith(DOMAIN) else None


def company_in(call: Call, reply: Reply) -> str | None:
    """Name the company that a reply gives away: the current user's, or the one in a lead's own mail address."""
    rows = reply.data if isinstance(reply.data, list) else [reply.data]
    first = _as_dict(rows[0]) if rows else {}
    if CURRENT_USER.fullmatch(call.path):
        return company_named(str(first.get("company_domain") or ""))
    address = LEADS_OWN_ADDRESS.fullmatch(str(first.get("cc_email"))) if direction_of(call) else None
    return company_named(address[1]) if address else None


def _as_dict(row: object) -> dict[str, Any]:
    """Look at a row of whatever type the call asked for."""
    if isinstance(row, msgspec.Raw):
        row = msgspec.json.decode(row)
    if isinstance(row, msgspec.Struct):
        return {"cc_email": getattr(row, "cc_email", None)}
    return row if isinstance(row, dict) else {}


class LeadsLineage:
    """Reports once that a hook read leads, and once that it wrote some, as soon as it is known whose they are.

    The company is that of the server's name, else the one in a reply, else the one that OAuth tokens are for. The hook
    holds this, and not the other way round too: it is to be gone, with its sockets, as soon as nobody holds it.
    """

    def __init__(self) -> None:
        self._company: str | None = None
        self._tokens_tell = True
        self._waiting: set[Direction] = set()
        self._done: set[Direction] = set()

    def note(self, hook: PipedriveLeadsHook, call: Call, reply: Reply) -> None:
        """Take note of a call that succeeded."""
        if len(self._done) == BOTH:
            return
        direction = direction_of(call)
        if self._company and (direction is None or direction in self._done):
            return
        with _reporting:
            try:
                self._company = self._company or company_in(call, reply)
                if direction and direction not in self._done:
                    self._waiting.add(direction)
                if self._waiting:
                    self._report(hook)
            except Exception as problem:  # noqa: BLE001 - readers and plugins may raise anything, and the call is done
                self._done = {"input", "output"}
                log.debug("Lineage is not reported: %s.", type(problem).__name__)

    def _report(self, hook: PipedriveLeadsHook) -> None:
        from airflow.sdk.lineage import NoOpCollector, get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        if isinstance(collector, NoOpCollector):
            self._done = {"input", "output"}
            return
        self._company = self.company(hook)
        if self._company is None:
            return
        self._done |= self._waiting
        while self._waiting:
            add = collector.add_input_asset if self._waiting.pop() == "input" else collector.add_output_asset
            add(context=hook, scheme=SCHEME, asset_kwargs={"company": self._company})

    def company(self, hook: PipedriveLeadsHook) -> str | None:
        """Name the company whose leads they are; None as long as nothing told."""
        return company_at(hook.get_conn().settings.base_url) or self._company or self._company_of_tokens(hook)

    def _company_of_tokens(self, hook: PipedriveLeadsHook) -> str | None:
        """Look into the token store, once."""
        if not self._tokens_tell or not isinstance(hook.get_conn().settings.login, OAuthApp):
            return None
        from airflow_provider_pipedrive_leads.hooks.token_store import VariableTokenStore

        self._tokens_tell = False
        tokens = VariableTokenStore(hook.pipedrive_conn_id).load()
        return company_at(tokens.api_domain) if tokens else None


def report_file(place: ObjectStoragePath) -> None:
    """Report a file that was written. Airflow sees by itself only what is written through ``place.open``."""
    from airflow.sdk.lineage import get_hook_lineage_collector

    try:
        get_hook_lineage_collector().add_output_asset(context=place, uri=file_uri(place))
    except Exception as problem:  # noqa: BLE001 - as above
        log.debug("Lineage is not reported: %s.", type(problem).__name__)


def file_uri(place: ObjectStoragePath) -> str:
    """Name a file as Airflow's lineage does, without login and query: they may hold secrets."""
    if place.protocol in LOCAL_PROTOCOLS:
        return f"file://{Path(place.path).absolute()}"
    scheme, _, rest = re.split("[?#]", str(place))[0].partition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}://{server.rpartition('@')[2]}{slash}{path}"


def export_lineage(
    hook: PipedriveLeadsHook, place: ObjectStoragePath, columns: Sequence[Column], rows: int
) -> OperatorLineage[Any, Any] | None:
    """Tell OpenLineage of an export, as ``get_openlineage_facets_on_complete`` has to.

    It stands for the whole task: OpenLineage then leaves aside what hooks reported, so nothing is told twice.

    :param hook: has read the leads.
    :param place: the file, or the folder of parts.
    :param columns: of the file; empty where leads are as the API gave them.
    :param rows: how many rows were written.
    :return: None without the OpenLineage provider.
    """
    try:
        return _lineage_of(hook, _written(*_name_of_file(place), columns, rows))
    except Exception as problem:  # noqa: BLE001 - as above
        log.debug("Lineage is not reported: %s.", type(problem).__name__)
        return left_to_hooks()


def table_lineage(
    hook: PipedriveLeadsHook, database: DbApiHook, table: str, columns: Sequence[Column], rows: int
) -> OperatorLineage[Any, Any] | None:
    """Tell OpenLineage of a load, as ``get_openlineage_facets_on_complete`` has to; see :func:`export_lineage`.

    :param hook: has read the leads.
    :param database: wrote them; it is asked for its connection and, where it knows one, for the default schema.
    :param table: ``table`` or ``schema.table``.
    :param columns: by their names in the table.
    :param rows: how many rows were written.
    :return: None without the OpenLineage provider.
    """
    try:
        return _lineage_of(hook, _written(*_name_of_table(database, table), columns, rows))
    except Exception as problem:  # noqa: BLE001 - as above
        log.debug("Lineage is not reported: %s.", type(problem).__name__)
        return left_to_hooks()


def left_to_hooks() -> OperatorLineage[Any, Any] | None:
    """Tell OpenLineage nothing, so that it takes what hooks reported; None without the OpenLineage provider.

    None in its presence would be a warning in the task's log.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    return OperatorLineage()


def _lineage_of(hook: PipedriveLeadsHook, written: OutputDataset) -> OperatorLineage[Any, Any]:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_pipedrive_leads.assets.leads import create_asset, to_openlineage

    company = hook._lineage.company(hook)  # noqa: SLF001 - one unit: the hook keeps what this module is to know
    read: list[Dataset] = [to_openlineage(create_asset(company=company), hook)] if company else []
    return OperatorLineage(inputs=read, outputs=[written])


def _written(namespace: str, name: str, columns: Sequence[Column], rows: int) -> OutputDataset:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    fields = [SchemaDatasetFacetFields(name=column.name, type=column.kind) for column in columns]
    return OutputDataset(
        namespace=namespace,
        name=name,
        facets={"schema": SchemaDatasetFacet(fields=fields)} if fields else {},
        outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows)},
    )


def _name_of_file(place: ObjectStoragePath) -> tuple[str, str]:
    """Namespace and name; the same that Airflow's own providers give for the same file."""
    scheme, _, rest = file_uri(place).rstrip("/").partition("://")
    server, _, path = rest.partition("/")
    if scheme == "file":
        return scheme, rest
    return f"{OPENLINEAGE_SCHEMES.get(scheme, scheme)}://{server}", path


def _name_of_table(database: DbApiHook, table: str) -> tuple[str, str]:
    """Namespace and name; the same that OpenLineage gives for SQL that the hook runs, where the hook knows them."""
    connection: Connection = database.get_connection(database.get_conn_id())
    schema, _, bare = table.rpartition(".")
    info = database.get_openlineage_database_info(connection)
    if info is None:
        parts = [connection.schema, schema, bare]
        return _server(connection), ".".join(part for part in parts if part)
    schema = schema or database.get_openlineage_default_schema() or ""
    parts = [info.database or ("" if schema else connection.schema), schema, bare]
    namespace = f"{info.scheme}://{info.authority}" if info.authority else str(info.scheme)
    return namespace, ".".join(part for part in parts if part)


def _server(connection: Connection) -> str:
    """Type, host and port: no login, and none of the parameters that some drivers take in the host's place."""
    host = re.split("[?;]", connection.host or "")[0]
    if not host.startswith("/"):
        host = host.rpartition("://")[2].rpartition("@")[2]
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.conn_type}://{host}{port}" if host else str(connection.conn_type)
