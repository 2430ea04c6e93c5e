"""The errors a DAG author may catch, at the place where Airflow users look for them."""

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConfigError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
)

__all__ = [
    "PipedriveAuthError",
    "PipedriveConfigError",
    "PipedriveConnectionError",
    "PipedriveDailyBudgetError",
    "PipedriveError",
    "PipedriveNotFoundError",
    "PipedriveRateLimitError",
    "PipedriveServerError",
    "PipedriveValidationError",
]
