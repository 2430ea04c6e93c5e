"""Users. Vendor operations: getCurrentUser, getUsers."""

from __future__ import annotations

from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.replies import Reply, data_reply

INDUSTRY = "Industrial instruments"


def get_current_user(call: Call) -> Reply:
    """The calling user with the company, the natural connection test."""
    company = call.world.company
    user = call.world.state.users.get(call.caller.member.id)
    return data_reply(
        {
            **(user or {}),
            "is_you": True,
            "company_id": company.id,
            "company_name": company.name,
            "company_domain": company.domain,
            "company_country": company.country,
            "company_industry": INDUSTRY,
            "language": {"language_code": "en", "country_code": "US"},
        }
    )


def get_users(call: Call) -> Reply:
    """All users of the company."""
    users = call.world.state.users.all()
    return data_reply([{**user, "is_you": user["id"] == call.caller.member.id} for user in users])


ENDPOINTS = (
    Endpoint("GET", "/v1/users/me", 2, (), get_current_user),
    Endpoint("GET", "/v1/users", 20, ("users:read",), get_users),
)
