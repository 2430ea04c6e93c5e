"""Transfers: leads into databases."""
