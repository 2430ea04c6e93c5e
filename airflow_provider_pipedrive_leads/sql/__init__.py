"""A table of leads in any database that Airflow reaches through a ``DbApiHook``."""
