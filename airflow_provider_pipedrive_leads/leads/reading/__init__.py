"""Leads out of Pipedrive: complete reads while others write, what changed, columns, and whole exports."""
