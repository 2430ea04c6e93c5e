"""The pytest plugin as a user meets it: in a pytest run of its own."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.sandbox import pytest_plugin
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

# An environment that was made before the entry point was has to be told where the plugin is.
PLUGIN = next((point.name for point in entry_points(group="pytest11") if point.value == pytest_plugin.__name__), None)
PAGE = Path(__file__).parents[2] / "docs" / "testing-dags.md"
OURS = "airflow_provider_pipedrive_leads"
MOST_CALLS_TO_START = 1_000


class Run:
    """Files of a project in a folder of its own, and pytest run upon them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def __call__(self, *options: str, plugin: bool = True, **environment: str) -> str:
        if not plugin:
            options = ("-p", f"no:{PLUGIN or pytest_plugin.__name__}", *options)
        elif PLUGIN is None:
            options = ("-p", pytest_plugin.__name__, *options)
        command = (sys.executable, "-m", "pytest", "--strict-markers", "-p", "no:cacheprovider", *options)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))}
        found = subprocess.run(
            command, cwd=self.folder, env={**inherited, **environment}, capture_output=True, text=True
        )
        return found.stdout + found.stderr


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_every_test_has_a_sandbox_of_its_own_behind_the_connection(run: Run) -> None:
    run.write(
        "test_it.py",
        """
        import json, os
        import pytest
        from airflow_provider_pipedrive_leads.api.connection import read_connection
        from airflow_provider_pipedrive_leads.client import PipedriveClient

        def client():
            stored = json.loads(os.environ["AIRFLOW_CONN_PIPEDRIVE_DEFAULT"])
            return PipedriveClient(read_connection(password=stored["password"], extra=stored["extra"]))

        @pytest.mark.parametrize("number", [1, 2])
        def test_look(pipedrive_sandbox, number):
            assert os.environ["AIRFLOW_CONN_PIPEDRIVE_DEFAULT"] == pipedrive_sandbox.connection_json
            assert pipedrive_sandbox.connection == json.loads(pipedrive_sandbox.connection_json)
            assert pipedrive_sandbox.leads() == pipedrive_sandbox.requests() == []
            made = client().add_lead("Mine", person_id=1)
            pipedrive_sandbox.seed(3, archived=1)
            assert [lead["id"] for lead in pipedrive_sandbox.leads(is_archived=False)] == [made["id"]]
            assert len(pipedrive_sandbox.leads()) == 4
            client().get_lead(made["id"])
            assert [seen["path"] for seen in pipedrive_sandbox.requests("POST")] == ["/v1/leads"]
            assert len(pipedrive_sandbox.requests(path="/v1/leads/*")) == 1
            assert pipedrive_sandbox.token in pipedrive_sandbox.connection_json
            assert set(pipedrive_sandbox.oauth_connection["extra"]) > {"refresh_token"}
            assert pipedrive_sandbox.control.counters()["calls"] == len(pipedrive_sandbox.requests())

        def test_fail(pipedrive_sandbox):
            pipedrive_sandbox.fail("GET", "/v1/users/me")
            client().get_current_user()
            assert [seen["status"] for seen in pipedrive_sandbox.requests()] == [500, 200]
            pipedrive_sandbox.fail("GET", "/v1/users/me", "html", times=2, status=502)
            client().get_current_user()
            assert [seen["status"] for seen in pipedrive_sandbox.requests()][2:] == [502, 502, 200]

        def test_after():
            assert "AIRFLOW_CONN_PIPEDRIVE_DEFAULT" not in os.environ
        """,
    )
    proxy = "http://127.0.0.1:9"  # nobody answers there
    told = run(HTTP_PROXY=proxy, http_proxy=proxy, NO_PROXY="", no_proxy="corp.example")
    assert "4 passed" in told, told


def test_the_nearest_marker_wins(run: Run) -> None:
    run.write(
        "test_it.py",
        """
        import os
        import pytest

        pytestmark = pytest.mark.pipedrive_sandbox(leads=3, profile="contrary")

        def test_module(pipedrive_sandbox):
            seen = pipedrive_sandbox.control.overview()
            assert (len(pipedrive_sandbox.leads()), seen["profile"], seen["plan"]) == (3, "contrary", "ultimate")
            assert seen["budget"]["limit"] > 10_000_000

        @pytest.mark.pipedrive_sandbox(leads=5, plan="lite", seats=2, choices={"retry_after": "absent"})
        @pytest.mark.pipedrive_sandbox(leads=4, conn_id="sales")
        def test_function(pipedrive_sandbox):
            seen = pipedrive_sandbox.control.overview()
            assert (len(pipedrive_sandbox.leads()), seen["profile"], seen["plan"]) == (4, "contrary", "lite")
            assert seen["budget"]["limit"] == 60_000
            assert pipedrive_sandbox.control.choices()["retry_after"] == "absent"
            assert "AIRFLOW_CONN_SALES" in os.environ
            assert "AIRFLOW_CONN_PIPEDRIVE_DEFAULT" not in os.environ
        """,
    )
    told = run()
    assert "2 passed" in told, told


WRONG_MARKERS = {
    "lead=20": "takes leads, seed, .*, by name; not lead",
    "20": "by name; not 20",
    "plan='huge'": "unknown plan 'huge': one of lite",
    "profile='odd'": "unknown profile 'odd': one of likely",
}


def test_a_wrong_marker_says_what_is_right(run: Run) -> None:
    tests = (
        f"@pytest.mark.pipedrive_sandbox({options})\ndef test_{number}(pipedrive_sandbox): pass\n"
        for number, options in enumerate(WRONG_MARKERS)
    )
    run.write("test_it.py", "import pytest\n" + "".join(tests))
    told = run()
    assert f"{len(WRONG_MARKERS)} errors" in told, told
    for complaint in WRONG_MARKERS.values():
        assert re.search(complaint, told), told


def test_the_options_are_the_sandboxs_own() -> None:
    own = set(inspect.signature(Sandbox.__init__).parameters)
    assert set(pytest_plugin.OPTIONS) - own == {"conn_id"}


def test_pytest_tells_of_the_fixture_and_the_marker(run: Run) -> None:
    run.write("test_it.py", "def test_it(pipedrive_sandbox): pass")
    assert "@pytest.mark.pipedrive_sandbox(leads, seed" in run("--markers")
    assert "A local Pipedrive for this test" in run("--fixtures-per-test")


LIST_MODULES = """
import sys
import threading

def pytest_unconfigure():
    print("threads", threading.active_count())
    print("loaded", *sorted(sys.modules))
"""


def loaded(told: str) -> set[str]:
    assert "threads 1\n" in told
    return set(next(line for line in told.splitlines() if line.startswith("loaded ")).split()[1:])


@pytest.mark.parametrize("options", [(), ("--collect-only",)], ids=["unused", "collected"])
def test_who_does_not_use_it_pays_nothing(run: Run, options: tuple[str, ...]) -> None:
    wanted = "" if not options else "pipedrive_sandbox"
    run.write("conftest.py", LIST_MODULES)
    run.write("test_it.py", f"def test_it({wanted}): pass")
    without = loaded(run(*options, plugin=False))
    assert f"{OURS}.sandbox.pytest_plugin" not in without
    more = loaded(run(*options)) - without
    assert more == {OURS, f"{OURS}.sandbox", f"{OURS}.sandbox.pytest_plugin"}


def test_it_starts_with_little_work() -> None:
    """Counted in calls of functions, of which all but the first start need as many: seconds depend on the machine."""
    Sandbox(leads=20)
    calls: list[str] = []
    sys.setprofile(lambda frame, event, argument: calls.append(event) if event in {"call", "c_call"} else None)
    try:
        Sandbox(leads=20)
    finally:
        sys.setprofile(None)
    assert 100 < len(calls) < MOST_CALLS_TO_START


@pytest.mark.long
def test_the_example_in_the_documentation_runs(run: Run) -> None:
    files = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert set(files) == {"dags/inquiries.py", "tests/test_inquiries.py"}
    for name, text in files.items():
        run.write(name, text)
    told = run()
    assert "2 passed" in told, told


def test_the_documentation_names_every_option_and_helper() -> None:
    text = PAGE.read_text()
    helpers = [name for name in dir(pytest_plugin.PipedriveSandbox) if not name.startswith("_")]
    for name in [*(f"`.{helper}" for helper in helpers), "`.url`", "`.token`", "`.control`"]:
        assert name in text, name
    for option in pytest_plugin.OPTIONS:
        assert f"`{option}=" in text, option
