"""Apache Airflow provider for Pipedrive leads."""

__version__ = "0.1.0"
