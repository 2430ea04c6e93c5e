"""Leads into Pipedrive: once, whatever cuts a call short."""
