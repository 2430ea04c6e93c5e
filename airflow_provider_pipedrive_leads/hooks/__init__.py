"""Floor 5: the hooks that DAG authors import."""
