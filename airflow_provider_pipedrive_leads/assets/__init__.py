"""Floor 5: the assets that Airflow knows by their scheme."""
