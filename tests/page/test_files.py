"""The page's files and how they are served: nothing from elsewhere, nothing inline, addresses that hold anywhere."""

from __future__ import annotations

import importlib.metadata
import re
from html.parser import HTMLParser

import pytest

from airflow_provider_pipedrive_leads.api import errors
from airflow_provider_pipedrive_leads.api.budget import SMALLEST_DAY
from airflow_provider_pipedrive_leads.operators.usage_record import USAGE_KEY
from airflow_provider_pipedrive_leads.page.files import FOLDER, page_files
from airflow_provider_pipedrive_leads.page.plugin import PipedriveLeadsPlugin

FILES = sorted(file.name for file in FOLDER.iterdir())
SCRIPTS = "\n".join((FOLDER / name).read_text() for name in FILES if name.endswith(".js"))


@pytest.fixture(scope="module")
def served():
    """The files as Airflow mounts them."""
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    return TestClient(Starlette(routes=[Mount("/page", page_files())]), base_url="http://airflow/page/")


@pytest.mark.parametrize("name", ["", *FILES])
def test_each_file_is_served_under_strict_rules(served, name):
    reply = served.get(name)
    assert reply.status_code == 200
    assert reply.content == (FOLDER / (name or "index.html")).read_bytes()
    rules = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "connect-src", "img-src", "frame-ancestors")} == {
        "'self'"
    }
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    kind = {"html": "text/html", "js": "javascript", "css": "text/css", "svg": "image/svg+xml"}[
        name.rpartition(".")[2] or "html"
    ]
    assert kind in reply.headers["content-type"]


@pytest.mark.parametrize("path", ["../plugin.py", "..%2fplugin.py", "%2e%2e/files.py", "static/", "nothing.js"])
def test_nothing_else_is_served(served, path):
    assert served.get(path).status_code == 404


def test_nobody_can_send_anything(served):
    assert served.post("").status_code == 405


class Markup(HTMLParser):
    """The tags and attributes of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed((FOLDER / "index.html").read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_all_comes_from_beside_the_page():
    tags = Markup().tags
    addresses = [value for _, names in tags for name, value in names.items() if name in ("src", "href", "action")]
    assert sorted(addresses) == ["icon-light.svg", "page.css", "page.js"]
    assert not [
        names for tag, names in tags if tag == "style" or "style" in names or any(n.startswith("on") for n in names)
    ]
    assert set(re.findall(r"https?://[\w./]+", SCRIPTS)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(", (FOLDER / "page.css").read_text())


def test_data_never_becomes_markup():
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setHTML|DOMParser|srcdoc"
    assert not re.search(sinks, SCRIPTS)


def test_the_page_and_the_operators_agree():
    assert f'KEY = "{USAGE_KEY}"' in SCRIPTS
    assert f"SMALLEST_DAY = {SMALLEST_DAY};" in SCRIPTS
    kinds = [
        re.search(pattern, (FOLDER.parents[1] / file).read_text()).group(1)
        for file, pattern in (
            ("operators/export_leads.py", r'recorded\(self, context, hook, "(.+?)"'),
            ("transfers/leads_to_sql.py", r'recorded\(self, context, hook, "(.+?)"'),
            ("operators/load_leads.py", r'kind="(.+?)"'),
            ("transfers/sql_to_leads.py", r'kind="(.+?)"'),
        )
    ]
    assert re.search(r"MOVES_ROWS = new Set\((.+)\)", SCRIPTS).group(1) == str(kinds).replace("'", '"')


def test_there_is_a_remedy_for_every_error():
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.PipedriveError) and kind is not errors.PipedriveError
    }
    kinds.remove("ReplyTooLargeError")  # told as what it is a kind of
    assert len(kinds) == 8
    assert kinds <= set(re.findall(r"^  (\w+): \(", SCRIPTS, re.MULTILINE))


def test_addresses_are_relative_so_that_any_base_path_holds():
    (view,) = PipedriveLeadsPlugin.external_views
    (app,) = PipedriveLeadsPlugin().fastapi_apps
    assert app["url_prefix"] == f"/{view['href'].rstrip('/')}"
    for name in ("href", "icon", "icon_dark_mode"):
        assert not view[name].startswith("/")
    assert {view["icon"].rpartition("/")[2], view["icon_dark_mode"].rpartition("/")[2]} <= set(FILES)


def test_airflow_finds_the_plugin_by_its_entry_point():
    from airflow.plugins_manager import is_valid_plugin

    (entry,) = importlib.metadata.entry_points(group="airflow.plugins", name=PipedriveLeadsPlugin.name)
    assert entry.load() is PipedriveLeadsPlugin
    assert is_valid_plugin(PipedriveLeadsPlugin)
