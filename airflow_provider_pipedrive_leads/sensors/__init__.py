"""Floor 5: the sensors that DAG authors import."""
