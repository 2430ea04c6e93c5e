"""The project's own stage: a throw-away Airflow beside a local Pipedrive. Not part of the package."""
