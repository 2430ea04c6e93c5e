"""The same export as a good engineer would write it by hand, or would have it done by ``dlt``.

Each function imports what it needs and gives back the export; the imports stand inside because the ways live in
different environments. They read the active leads in pages at fixed offsets, and leave out what an export for keeps has
to do besides: pacing, retries, leads that move between pages, the archived list, a file that appears whole.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.export_run import Export, Job

TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105 - of a throw-away server
PAGE = 500
THREADS = 8


def http_client() -> Export:
    """Eight connections of ``http.client``; rows stay the bytes they are. About the least that Python can do."""
    import http.client
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from urllib.parse import urlsplit

    import msgspec

    page_type = msgspec.defstruct("Page", [("data", list[msgspec.Raw])])
    decoder: Any = msgspec.json.Decoder(page_type)

    def export(job: Job) -> None:
        host = urlsplit(job.url).netloc
        own = threading.local()

        def connect() -> None:
            own.connection = http.client.HTTPConnection(host, timeout=30)

        def lines(start: int) -> bytes:
            own.connection.request("GET", f"/v1/leads?start={start}&limit={PAGE}", headers={"x-api-token": TOKEN})
            reply = own.connection.getresponse()
            body = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"GET /v1/leads: {reply.status}")
            return b"\n".join([*decoder.decode(body).data, b""])

        with ThreadPoolExecutor(THREADS, initializer=connect) as pool, Path(job.path).open("wb") as file:
            file.writelines(pool.map(lines, range(0, job.leads, PAGE)))

    return export


def plain_requests() -> Export:
    """The loop that most people write."""
    return _requests_loop(lambda response: response.json(), lambda lead: json.dumps(lead).encode())


def requests_orjson() -> Export:
    """The same loop with the fastest general JSON library."""
    import orjson

    return _requests_loop(lambda response: orjson.loads(response.content), orjson.dumps)


def _requests_loop(load: Callable[[Any], Any], dump: Callable[[object], bytes]) -> Export:
    import requests

    def export(job: Job) -> None:
        with requests.Session() as session, Path(job.path).open("wb") as file:
            session.headers["x-api-token"] = TOKEN
            query = {"start": 0, "limit": PAGE}
            while True:
                response = session.get(f"{job.url}/v1/leads", params=query, timeout=30)
                response.raise_for_status()
                envelope = load(response)
                file.writelines(dump(lead) + b"\n" for lead in envelope["data"])
                page = envelope["additional_data"]["pagination"]
                if not page["more_items_in_collection"]:
                    return
                query["start"] = page["next_start"]

    return export


def dlt_jsonl() -> Export:
    """``dlt``'s REST source to files of JSON lines, which it packs by gzip unless told otherwise."""
    return _dlt("jsonl")


def dlt_plain_jsonl() -> Export:
    """The same without gzip, neither on the way nor in the result."""
    os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    return _dlt("jsonl")


def dlt_parquet() -> Export:
    """``dlt``'s REST source to Parquet files."""
    return _dlt("parquet")


def dlt_duckdb() -> Export:
    """``dlt``'s REST source to a table of DuckDB."""
    from dlt.destinations import duckdb

    return _dlt_into(lambda path: duckdb(credentials=path), "parquet")


def dlt_postgres() -> Export:
    """``dlt``'s REST source to a table of PostgreSQL."""
    from dlt.destinations import postgres

    return _dlt_into(lambda path: postgres(credentials=path), "csv")


def _dlt_into(destination: Callable[[str], Any], file_format: str) -> Export:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt
    from dlt.sources.rest_api import rest_api_source

    def export(job: Job) -> None:
        with tempfile.TemporaryDirectory() as working:
            pipeline = dlt.pipeline(
                "leads", destination=destination(job.path), dataset_name="exported", pipelines_dir=working
            )
            pipeline.run(rest_api_source(_dlt_source(job.url)), loader_file_format=file_format)

    return export


def _dlt(file_format: str) -> Export:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt
    import pyarrow.parquet  # noqa: F401 - dlt would import it while the clock runs
    from dlt.destinations import filesystem
    from dlt.sources.rest_api import rest_api_source

    def export(job: Job) -> None:
        source = rest_api_source(_dlt_source(job.url))
        pipeline = dlt.pipeline(
            "leads",
            destination=filesystem(bucket_url=Path(job.path).as_uri()),
            dataset_name="exported",
            pipelines_dir=f"{job.path}.working",
        )
        pipeline.run(source, loader_file_format=file_format)

    return export


def _dlt_source(url: str) -> dict[str, Any]:
    return {
        "client": {
            "base_url": f"{url}/v1/",
            "headers": {"x-api-token": TOKEN},
            "paginator": {
                "type": "offset",
                "limit": PAGE,
                "offset_param": "start",
                "limit_param": "limit",
                "total_path": None,
                "has_more_path": "additional_data.pagination.more_items_in_collection",
            },
        },
        "resources": [{"name": "leads", "endpoint": {"path": "leads", "data_selector": "data"}}],
    }
