"""The asset ``pipedrive://<company>/leads``: one form, plain refusals, and its name in OpenLineage."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset

from airflow_provider_pipedrive_leads.assets.leads import create_asset, sanitize_uri, to_openlineage


@pytest.mark.parametrize(
    "text",
    [
        "pipedrive://acme/leads",
        "pipedrive://ACME/leads",
        "pipedrive://acme.pipedrive.com/leads",
        "pipedrive://Acme.Pipedrive.COM/leads",
    ],
)
def test_one_form(text):
    assert sanitize_uri(urlsplit(text)).geturl() == "pipedrive://acme/leads"


def test_company_domains_may_hold_digits_and_dashes():
    assert sanitize_uri(urlsplit("pipedrive://acme-2/leads")).netloc == "acme-2"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/leads",
        ".pipedrive.com/leads",
        "api.pipedrive.com/leads",
        "oauth/leads",
        "acme.example.com/leads",
        "acme.pipedrive.com.example.com/leads",
        "a.acme.pipedrive.com/leads",
        "-acme/leads",
        "ac me/leads",
        "acmé/leads",
        f"{'a' * 64}/leads",
        "user@acme/leads",
        "user:secret@acme/leads",
        "acme:443/leads",
        "acme:leads/leads",
        "[::1]/leads",
    ],
)
def test_no_company(rest):
    with pytest.raises(ValueError, match=r"names no Pipedrive company. Write it like pipedrive://acme/leads") as caught:
        sanitize_uri(urlsplit(f"pipedrive://{rest}"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("rest", ["", "/", "/deals", "/leads/", "/leads/7", "/Leads", "/leads?a=1", "/leads#a"])
def test_nothing_but_the_leads(rest):
    with pytest.raises(ValueError, match=r"must end with /leads.*Write it like pipedrive://acme/leads"):
        sanitize_uri(urlsplit(f"pipedrive://acme{rest}"))


def test_the_factory():
    asset = create_asset(company="Acme.pipedrive.com", extra={"a": 1})
    assert (asset.uri, asset.name, asset.extra) == ("pipedrive://acme/leads", "pipedrive://acme/leads", {"a": 1})
    assert create_asset(company="acme") == Asset("pipedrive://acme/leads")
    with pytest.raises(ValueError, match=r"names no Pipedrive company"):
        create_asset(company="acme/other")


def test_airflow_finds_the_functions_by_the_scheme():
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    manager = ProvidersManagerTaskRuntime()
    assert manager.asset_uri_handlers["pipedrive"] is sanitize_uri
    assert manager.asset_factories["pipedrive"] is create_asset
    assert manager.asset_to_openlineage_converters["pipedrive"] is to_openlineage
    assert Asset("PIPEDRIVE://Acme.pipedrive.com/leads/").uri == "pipedrive://acme/leads"
    with pytest.raises(ValueError, match="Write it like"):
        Asset("pipedrive://acme/deals")


def test_its_name_in_openlineage():
    pytest.importorskip("openlineage.client", reason="the OpenLineage provider is not installed")
    dataset = to_openlineage(create_asset(company="acme"), None)
    assert (dataset.namespace, dataset.name) == ("pipedrive://acme", "leads")
