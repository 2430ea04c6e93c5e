"""Waiting for leads: what is waited for, how it is looked for at what price, and what changed since."""
