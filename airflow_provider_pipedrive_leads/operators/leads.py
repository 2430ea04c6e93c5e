"""The operators of this provider, by the names that DAG files use; each stands in a module of its own.

What an operator does is imported when it does it: DAG files are parsed far more often than tasks run.
"""

from airflow_provider_pipedrive_leads.operators.convert_lead import (
    PipedriveConvertDealOperator,
    PipedriveConvertLeadOperator,
)
from airflow_provider_pipedrive_leads.operators.create_lead import PipedriveCreateLeadOperator
from airflow_provider_pipedrive_leads.operators.delete_lead import PipedriveDeleteLeadOperator
from airflow_provider_pipedrive_leads.operators.export_leads import PipedriveExportLeadsOperator
from airflow_provider_pipedrive_leads.operators.get_lead import PipedriveGetLeadOperator
from airflow_provider_pipedrive_leads.operators.lead_labels import PipedriveEnsureLeadLabelsOperator
from airflow_provider_pipedrive_leads.operators.load_leads import PipedriveLoadLeadsOperator
from airflow_provider_pipedrive_leads.operators.search_leads import PipedriveSearchLeadsOperator
from airflow_provider_pipedrive_leads.operators.update_lead import PipedriveUpdateLeadOperator

__all__ = [
    "PipedriveConvertDealOperator",
    "PipedriveConvertLeadOperator",
    "PipedriveCreateLeadOperator",
    "PipedriveDeleteLeadOperator",
    "PipedriveEnsureLeadLabelsOperator",
    "PipedriveExportLeadsOperator",
    "PipedriveGetLeadOperator",
    "PipedriveLoadLeadsOperator",
    "PipedriveSearchLeadsOperator",
    "PipedriveUpdateLeadOperator",
]
