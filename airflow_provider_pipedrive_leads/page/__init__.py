"""Floor 5: a page in Airflow's menu that shows what tasks have recorded about their use of Pipedrive."""
