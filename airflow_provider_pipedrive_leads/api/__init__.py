"""Floor 1: the leads API as values. No sockets, no clocks, no Airflow."""
