"""The vendor's published client against the sandbox, unmodified and given only its address; and a third party's.

The vendor's is the npm package ``pipedrive``, pinned by ``vendor_sdk/package.json`` and put into
``vendor_sdk/node_modules`` on first use. There is no Python client by the vendor; ``pipedrive-python-lib`` stands for
the many that still give their token in the query.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox.routes import ENDPOINTS
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

NODE, NPM, UV = shutil.which("node"), shutil.which("npm"), Path(sys.executable).with_name("uv")
pytestmark = pytest.mark.long
HERE = Path(__file__).parent / "vendor_sdk"
NO_LIMIT = 1_000_000
NEVER_BY_THE_CLIENT = {"POST /oauth/token/"}
REFUSED = [
    (401, "GET", "/v1/users/me"),
    (404, "GET", "/v1/leads/{uuid}"),
    (400, "POST", "/v1/leads"),
    (404, "DELETE", "/v1/webhooks/1"),
    (404, "GET", "/v1/leads/{uuid}"),
    (404, "POST", "/api/v2/leads/{uuid}/convert/deal"),
    (400, "POST", "/oauth/token"),
    (401, "GET", "/api/v1/users/me"),
    (400, "POST", "/oauth/token"),
    (401, "GET", "/api/v2/persons"),
]


@dataclass(frozen=True)
class Run:
    """What the vendor's client got, and what the sandbox saw of it."""

    results: dict[str, Any]
    counters: dict[str, Any]
    refused: list[tuple[int, str, str]]
    profile: str
    address: str


@pytest.fixture(scope="module")
def script() -> Path:
    """The script beside an installed client of the pinned version."""
    if NODE is None or NPM is None:
        pytest.skip("node and npm are not installed")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["pipedrive"]
    installed = HERE / "node_modules" / "pipedrive" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != wanted:
        flags = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        _run([NPM, "install", *flags], cwd=HERE, env=_with_proxies())
    return HERE / "exercise.mjs"


@pytest.fixture(scope="module", params=["likely", "contrary"])
def running(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox whose bursts are not limited: the vendor's client repeats nothing after a 429."""
    with Sandbox(leads=40, profile=request.param) as sandbox:
        sandbox.control.set_burst(NO_LIMIT, search=NO_LIMIT)
        yield sandbox


@pytest.fixture(scope="module")
def run(running: Sandbox, script: Path) -> Run:
    """All operations of the vendor's client that concern leads, done once."""
    grant = running.control.oauth_grant()
    app = {"clientId": grant["client_id"], "clientSecret": grant["client_secret"]}
    running.control.reset_counters()
    output = _run([str(NODE), str(script), json.dumps({"address": running.url, "token": running.token, **app})])
    requests = running.control.requests()
    refused = [
        (
            each["status"],
            each["method"],
            "/".join("{uuid}" if len(part) == 36 else part for part in each["path"].split("/")),
        )
        for each in requests
        if each["status"] >= 400
    ]
    return Run(json.loads(output), running.control.counters(), refused, running.world.choices.profile, running.url)


def _run(command: list[str], **more: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _with_proxies() -> dict[str, str]:
    """The environment without the tests' ban on proxies: the network may lie behind one."""
    return {name: value for name, value in os.environ.items() if (name, value) != ("NO_PROXY", "*")}


def test_the_client_reaches_every_route(run: Run) -> None:
    assert set(run.counters["routes"]) == {endpoint.route for endpoint in ENDPOINTS} - NEVER_BY_THE_CLIENT
    assert run.refused == REFUSED
    assert (run.counters["failures"], run.counters["rejected"]) == (0, 0)


def test_users_and_refusals_as_the_client_throws_them(run: Run) -> None:
    me, users = run.results["me"]["data"], run.results["users"]["data"]
    assert me["id"] in [user["id"] for user in users if user["is_you"]]
    assert run.results["stranger"]["errorCode"] == 401
    gone = run.results["leads"]["gone"]
    assert (gone["success"], gone["data"]) == (False, None)
    assert gone["error"].endswith("not found")
    assert "person_id" in run.results["leads"]["withoutContact"]["error"]
    assert run.results["webhooks"]["gone"] == {"status": "error", "success": False, "errors": {"id": ["not found"]}}


def test_contacts(run: Run) -> None:
    got = run.results["contacts"]
    person, organization = got["person"]["id"], got["organization"]["id"]
    assert [hit["item"]["id"] for hit in got["foundPerson"]["data"]["items"]] == [person]
    assert got["foundOrganization"]["data"]["items"][0]["item"]["id"] == organization
    assert got["renamedPerson"]["data"] == got["onePerson"]["data"] == got["persons"]["data"][0]
    assert (got["onePerson"]["data"]["name"], got["oneOrganization"]["data"]["name"]) == ("Vera Door", "Vendor AG")
    assert got["oneOrganization"]["data"] == got["renamedOrganization"]["data"]
    assert got["organizations"]["additional_data"]["next_cursor"]
    gone = run.results["goneContacts"]
    assert [gone["person"]["data"]["id"], gone["organization"]["data"]["id"]] == gone["ids"]


def test_labels_and_sources(run: Run) -> None:
    got = run.results["labels"]
    listed = {label["id"]: label["name"] for label in got["list"]["data"]}
    assert listed[got["label"]["id"]] == got["renamed"]["data"]["name"] == "Vendors"
    assert got["deleted"]["data"]["id"] == got["spare"]["id"] not in listed
    assert {"name": "API"} in got["sources"]["data"]


def test_fields(run: Run) -> None:
    got = run.results["fields"]
    money, choice = got["money"]["key"], got["choice"]["field_code"]
    assert {money, choice} <= {field["key"] for field in got["lead"]} & {field["key"] for field in got["deal"]}
    assert {money, choice} <= {field["field_code"] for field in got["dealV2"]["data"]}
    assert (got["one"]["data"]["key"], got["oneV2"]["data"]["field_code"]) == (money, choice)
    spare = got["renamed"]["data"]["field_code"]
    assert got["deleted"]["data"]["field_code"] == spare not in {field["key"] for field in got["deal"]}


def test_leads(run: Run) -> None:
    got, fields = run.results["leads"], run.results["fields"]
    money, choice = fields["money"]["key"], fields["choice"]
    added, changed = got["added"], got["changed"]["data"]
    assert (added[money], added[f"{money}_currency"]) == (99.5, "USD")
    assert added[choice["field_code"]] == str(choice["options"][0]["id"])
    assert (added["value"], added["origin_id"], added["visible_to"]) == (
        {"amount": 1250.5, "currency": "EUR"},
        "vendor-1",
        "3",
    )
    assert (changed["title"], changed["value"], choice["field_code"] in changed) == ("Changed", None, False)
    assert [lead["id"] for lead in got["archivedList"]] == [added["id"]]
    assert (got["archived"]["data"]["is_archived"], got["restored"]["data"]["is_archived"]) == (True, False)
    assert got["one"]["data"] == got["restored"]["data"] == got["ofPerson"]["data"][0]
    assert run.results["me"]["data"]["id"] in got["users"]["data"]
    assert got["all"] == got["atOnce"]
    assert len(got["all"]) > 30
    assert got["all"][-1] == got["since"][0] == added["id"]
    assert got["deleted"]["data"]["id"] not in got["all"]


def test_notes_filters_webhooks(run: Run) -> None:
    notes, filters, webhooks = run.results["notes"], run.results["filters"], run.results["webhooks"]
    assert [note["id"] for note in notes["list"]["data"]] == [notes["note"]["id"]]
    assert notes["one"]["data"]["content"] == notes["changed"]["data"]["content"] == "Xylophones no more"
    assert notes["deleted"]["data"] is True
    assert filters["keptTheLead"]
    condition = filters["one"]["data"]["conditions"]["conditions"][0]["conditions"][0]
    assert (condition["operator"], condition["field_code"]) == ("IS NOT NULL", "person_id")
    assert [each["name"] for each in filters["list"]["data"]] == ["Vendor filter 2"]
    assert filters["changed"]["data"]["id"] == filters["deleted"]["data"]["id"] == filters["added"]["id"]
    assert [each["id"] for each in webhooks["list"]["data"]] == [webhooks["added"]["id"]]


def test_search_finds_the_lead_once_the_index_has_it(run: Run) -> None:
    got, lead = run.results["searches"], run.results["leads"]["added"]["id"]
    for way in ("v1", "v2", "items"):
        assert lead in [hit["item"]["id"] for hit in got[way]["data"]["items"]]
    assert got["v2"]["data"]["items"][0]["item"]["was_seen"] is True
    assert [hit["item"]["id"] for hit in got["byField"]["data"]] == [lead]


def test_conversion_there_and_back(run: Run) -> None:
    got, lead = run.results["conversions"], run.results["leads"]["restored"]["data"]
    assert got["converted"]["data"] == {
        "conversion_id": got["begun"]["data"]["conversion_id"],
        "status": "completed",
        "deal_id": got["deal"]["data"]["id"],
    }
    assert (got["deal"]["data"]["source_lead_id"], got["deal"]["data"]["title"]) == (lead["id"], "Changed")
    assert [deal["id"] for deal in got["deals"]["data"]] == [got["deal"]["data"]["id"]]
    assert got["shelved"]["data"]["is_archived"] is True
    assert got["archivedDeals"]["data"] == [got["shelved"]["data"]]
    assert got["gone"]["success"] is False
    assert got["returned"]["data"]["status"] == "completed"
    assert (got["lead"]["data"]["source_deal_id"], got["lead"]["data"]["title"]) == (
        got["deal"]["data"]["id"],
        "Changed",
    )
    assert got["deleted"]["data"] == {"id": got["second"]["data"]["deal_id"]}
    assert got["unknown"]["error"] == "Entity was not found"


def test_oauth_from_consent_to_uninstalling(run: Run) -> None:
    got = run.results["oauth"]
    assert (got["tokenType"], got["expiresIn"]) == ("Bearer", 3600)
    assert got["basePaths"] == [f"{run.address}/api/v1", f"{run.address}/api/v2"]
    assert (got["spentCode"]["error"], got["uninstalled"]["error"]) == ("invalid_grant", "invalid_grant")
    assert got["lead"]["origin"] == "Marketplace"
    assert (got["page"], got["persons"], got["refreshed"]) == (2, 1, True)
    assert got["afterRefresh"] == got["me"]["id"]
    assert [got[name]["errorCode"] for name in ("revokedAccess", "revokedAll")] == [401, 401]


THIRD_PARTY = """
import json, sys
from pipedrive.client import Client
from pipedrive.exceptions import NotFoundError, UnauthorizedError
client = Client(domain=sys.argv[1])
client.set_api_token(sys.argv[2])
try:
    me = client.users.get_me()["data"]
except UnauthorizedError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
lead = client.leads.create_lead({"title": "Third party", "person_id": 1})["data"]
changed = client.leads.update_lead(lead["id"], {"was_seen": True})["data"]
listed = [each["id"] for each in client.leads.get_all_leads(params={"limit": 500})["data"]]
note = client.notes.create_note({"content": "Hello", "lead_id": lead["id"]})["data"]
client.leads.delete_lead(lead["id"])
try:
    client.leads.get_lead(lead["id"])
    gone = False
except NotFoundError:
    gone = True
print(json.dumps([me["is_you"], changed["was_seen"], lead["id"] in listed, note["lead_id"] == lead["id"], gone]))
"""


def test_a_third_partys_client_with_its_token_in_the_query(running: Sandbox) -> None:
    """8.1, C: accepted in the likely world, refused in the contrary one."""
    if not UV.exists():
        pytest.skip("uv is not installed beside this Python")
    runner = [str(UV), "run", "--no-project", "--isolated", "--quiet", "--python", sys.executable]
    package = ["--with", "pipedrive-python-lib==1.2.3", "python", "-c", THIRD_PARTY]
    # The package is fetched through a proxy if there is one; the sandbox must not be.
    environment = {**_with_proxies(), "NO_PROXY": "127.0.0.1"}
    got = json.loads(_run([*runner, *package, running.url, running.token], env=environment))
    if running.world.choices["query_token"] == "accepted":
        assert got == [True] * 5
    else:
        assert got == {"refused": "unauthorized access"}
