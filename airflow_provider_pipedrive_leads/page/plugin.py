"""What Airflow loads by the entry point ``airflow.plugins``, in every process: nothing is built before it is needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

NAME = "Pipedrive leads"
ROUTE = "pipedrive-leads"


class PipedriveLeadsPlugin(AirflowPlugin):
    """A page under Browse: files that read Airflow's own API in the browser, with the viewer's login and rights.

    The addresses are relative, so that Airflow finds them under any base path.
    """

    name = "pipedrive_leads"
    external_views: list[Any] = [  # noqa: RUF012 - the form that Airflow asks for
        {
            "name": NAME,
            "href": f"{ROUTE}/",
            "destination": "nav",
            "category": "browse",
            "url_route": ROUTE,
            "icon": f"{ROUTE}/icon-light.svg",
            "icon_dark_mode": f"{ROUTE}/icon-dark.svg",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The app that serves the page; only the API server asks for it."""
        from airflow_provider_pipedrive_leads.page.files import page_files  # noqa: PLC0415 - it loads Starlette

        return [{"name": NAME, "url_prefix": f"/{ROUTE}", "app": page_files()}]
