"""The routes by resource; each module holds handlers and a table of endpoints with their costs and scopes."""

from airflow_provider_pipedrive_leads.sandbox.routes import (
    contacts,
    conversion,
    fields,
    filters,
    labels,
    leads,
    notes,
    oauth,
    search,
    users,
    webhooks,
)

ENDPOINTS = (
    *users.ENDPOINTS,
    *search.ENDPOINTS,
    *leads.ENDPOINTS,
    *labels.ENDPOINTS,
    *fields.ENDPOINTS,
    *contacts.ENDPOINTS,
    *conversion.ENDPOINTS,
    *notes.ENDPOINTS,
    *filters.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *oauth.ENDPOINTS,
)
