"""Speed and memory, measured; never asserted in a test. Each script prints a table."""
