"""The routes by resource; each module holds handlers and a table of endpoints with their costs and scopes."""

from airflow_provider_pipedrive_leads.sandbox.routes import (
    contacts,
    fields,
    labels,
    leads,
    search,
    users,
)

ENDPOINTS = (
    *users.ENDPOINTS,
    *search.ENDPOINTS,
    *leads.ENDPOINTS,
    *labels.ENDPOINTS,
    *fields.ENDPOINTS,
    *contacts.ENDPOINTS,
)
