"""Floor 5: links from tasks to what they made."""
