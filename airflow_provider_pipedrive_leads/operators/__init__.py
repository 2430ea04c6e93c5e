"""Floor 5: the operators that DAG authors import."""
