"""An auth manager whose administrator can take the right to read XComs away: while a file is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

TAKEN_AWAY = "XCOMS_TAKEN_AWAY"
"""The environment variable that names the file."""


class XComRights(SimpleAuthManager):
    """The simple one, but for XComs."""

    def is_authorized_dag(self, *, access_entity: DagAccessEntity | None = None, **details: Any) -> bool:
        if access_entity is DagAccessEntity.XCOM and Path(os.environ[TAKEN_AWAY]).exists():
            return False
        return super().is_authorized_dag(access_entity=access_entity, **details)
