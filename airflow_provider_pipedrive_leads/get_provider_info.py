"""What Airflow reads about this provider. Every Airflow process imports it, so it imports nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-pipedrive-leads",
        "name": "Pipedrive Leads",
        "description": "Create, update, export and wait for `Pipedrive <https://www.pipedrive.com/>`__ leads.",
        "integrations": [
            {
                "integration-name": "Pipedrive",
                "external-doc-url": "https://developers.pipedrive.com/docs/api/v1/Leads",
                "tags": ["service"],
            }
        ],
        "connection-types": [_CONNECTION_TYPE],
        "hooks": [
            {
                "integration-name": "Pipedrive",
                "python-modules": ["airflow_provider_pipedrive_leads.hooks.pipedrive_leads"],
            }
        ],
        "operators": [
            {"integration-name": "Pipedrive", "python-modules": ["airflow_provider_pipedrive_leads.operators.leads"]}
        ],
        "transfers": [
            {
                "source-integration-name": "Pipedrive",
                "target-integration-name": "SQL",
                "python-module": "airflow_provider_pipedrive_leads.transfers.leads_to_sql",
            },
            {
                "source-integration-name": "SQL",
                "target-integration-name": "Pipedrive",
                "python-module": "airflow_provider_pipedrive_leads.transfers.sql_to_leads",
            },
        ],
        "triggers": [
            {
                "integration-name": "Pipedrive",
                "python-modules": [
                    "airflow_provider_pipedrive_leads.triggers.conversion",
                    "airflow_provider_pipedrive_leads.triggers.daily_budget",
                    "airflow_provider_pipedrive_leads.triggers.leads",
                    "airflow_provider_pipedrive_leads.triggers.leads_changed",
                ],
            }
        ],
        "sensors": [
            {"integration-name": "Pipedrive", "python-modules": ["airflow_provider_pipedrive_leads.sensors.leads"]}
        ],
        "extra-links": [
            "airflow_provider_pipedrive_leads.links.leads_file.LeadsFileLink",
            "airflow_provider_pipedrive_leads.links.lead.PipedriveLeadLink",
            "airflow_provider_pipedrive_leads.links.deal.PipedriveDealLink",
        ],
        "asset-uris": [
            {
                "schemes": ["pipedrive"],
                "handler": "airflow_provider_pipedrive_leads.assets.leads.sanitize_uri",
                "factory": "airflow_provider_pipedrive_leads.assets.leads.create_asset",
                "to_openlineage_converter": "airflow_provider_pipedrive_leads.assets.leads.to_openlineage",
            }
        ],
    }


_CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "pipedrive",
    "hook-class-name": "airflow_provider_pipedrive_leads.hooks.pipedrive_leads.PipedriveLeadsHook",
    "hook-name": "Pipedrive",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login"],
        "relabeling": {"host": "Company domain", "password": "API token"},
        "placeholders": {
            "host": "acme or acme.pipedrive.com; empty: api.pipedrive.com",
            "password": "40 characters, from Personal preferences > API",
            "port": "443; without one the Test button of Airflow 3.3.2 answers Bad Request",
        },
    },
    "conn-fields": {
        "client_id": {
            "label": "OAuth client id",
            "description": "OAuth 2 instead of an API token: fill in all three OAuth fields.",
            "schema": {"type": ["string", "null"]},
        },
        "client_secret": {
            "label": "OAuth client secret",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "refresh_token": {
            "label": "OAuth refresh token",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "timeout": {
            "label": "Timeout",
            "description": "Seconds until a silent server is given up. Default 30.",
            "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 600},
        },
        "daily_token_reserve": {
            "label": "Daily token reserve",
            "description": "Stop before the company's daily API budget falls below so many tokens. Default 0.",
            "schema": {"type": ["integer", "null"], "minimum": 0},
        },
        "burst_limit": {
            "label": "Burst limit",
            "description": "Calls in 2 seconds, for a proxy that hides Pipedrive's rate limit headers. Empty: by them.",
            "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 10000},
        },
        "base_url": {
            "label": "Base URL",
            "description": "Another server, such as a sandbox or a proxy. http:// only to this machine.",
            "schema": {"type": ["string", "null"]},
        },
    },
}
