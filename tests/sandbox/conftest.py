"""A sandbox of its own for every test, and a short way to call it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox import delivery, gate
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.until import eventually

NOON = "2026-06-01T12:00:00Z"


class Api:
    """Calls a sandbox with one credential."""

    def __init__(self, sandbox: Sandbox, headers: dict[str, str]) -> None:
        self.sandbox, self.control = sandbox, sandbox.control
        self.session = requests.Session()
        self.session.headers.update(headers)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.sandbox.url + path, allow_redirects=False, **more)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.call("GET", path, params=params)

    def post(self, path: str, **body: Any) -> requests.Response:
        return self.call("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> requests.Response:
        return self.call("PATCH", path, json=body)

    def delete(self, path: str) -> requests.Response:
        return self.call("DELETE", path)

    def data(self, path: str, **params: Any) -> Any:
        reply = self.get(path, **params)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]

    def new_lead(self, **fields: Any) -> dict[str, Any]:
        reply = self.post("/v1/leads", **{"title": "A lead", "person_id": 1, **fields})
        assert reply.status_code in {200, 201}, reply.text
        lead: dict[str, Any] = reply.json()["data"]
        return lead

    def field(self, name: str) -> dict[str, Any]:
        """A custom field by its name."""
        return next(item for item in self.data("/v1/leadFields", limit=500) if item["name"] == name)


@pytest.fixture
def start(stopping: Executor) -> Iterator[Callable[..., Api]]:
    """Starts sandboxes with given options; their clock stands at noon and bursts are not limited."""
    stack = ExitStack()

    def begin(**options: Any) -> Api:
        sandbox = stack.enter_context(Sandbox(**options))
        sandbox.control.freeze(NOON)
        sandbox.control.set_burst(1_000_000, search=1_000_000)
        return Api(sandbox, {"x-api-token": sandbox.token})

    yield begin
    stopping.submit(stack.close)


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    """The administrator's calls to a sandbox with 40 leads."""
    return start(leads=40)


@pytest.fixture
def as_user() -> Callable[[Api, int], Api]:
    """The same sandbox through another user's token."""
    return lambda api, user_id: Api(api.sandbox, {"x-api-token": api.control.token_for(user_id)})


@pytest.fixture
def as_app() -> Callable[..., Api]:
    """The same sandbox through an OAuth app with the given scopes."""

    def installed(api: Api, *scopes: str) -> Api:
        grant = api.control.oauth_grant(scopes)
        form = {"grant_type": "refresh_token", "refresh_token": grant["refresh_token"]}
        credentials = (grant["client_id"], grant["client_secret"])
        reply = requests.post(api.sandbox.url + "/oauth/token", form, auth=credentials)
        assert reply.status_code == 200, reply.text
        return Api(api.sandbox, {"authorization": f"Bearer {reply.json()['access_token']}"})

    return installed


class Late:
    """Stands in the way of replies that are ordered to be late: none goes on before :meth:`release`.

    :ivar seconds: how long each was to wait, in turn.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._over = threading.Event()

    def release(self) -> None:
        self._over.set()

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.seconds.append(seconds)
            await eventually(self._over.is_set)
        else:
            await asyncio.sleep(0)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[Late]:
    """Replies that are ordered to be late wait for the test, not for real seconds."""
    waiting = Late()
    for module in (gate, delivery):
        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=waiting.sleep))
    yield waiting
    waiting.release()
