"""A local Pipedrive: the leads API and its neighbours over real HTTP, with a clock and faults under control.

Start one with :class:`airflow_provider_pipedrive_leads.sandbox.server.Sandbox` or the ``pipedrive-sandbox`` command.
This module imports nothing, so that a pytest plugin living here costs a test run nothing until it is used.
"""
