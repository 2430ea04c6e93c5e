"""How examples are made where nothing else is said: however long each takes, and without those of earlier runs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
