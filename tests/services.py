"""What the tests use besides Python packages: what is here, what is missing, and which Debian package brings it.

``python3 tests/services.py`` tells people; ``--packages`` tells scripts.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin"


class Service(NamedTuple):
    """A program that some tests need.

    :param programs: any of these will do: names, or patterns of whole paths.
    :param packages: of Debian.
    """

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]
    tested: str

    def is_here(self) -> bool:
        """Whether there is one on this machine."""
        return any(
            any(Path("/").glob(program[1:])) if program.startswith("/") else shutil.which(program, path=PATHS)
            for program in self.programs
        )


SERVICES = (
    Service("MariaDB", ("mariadbd", "mysqld"), ("mariadb-server",), "leads into MySQL"),
    Service("PostgreSQL", ("/usr/lib/postgresql/*/bin/initdb",), ("postgresql",), "many workers"),
    Service("Redis", ("redis-server",), ("redis-server",), "many workers"),
    Service(
        "Chromium",
        ("chromium", "chromium-browser", "google-chrome"),
        ("chromium", "fonts-liberation"),
        "the form, the page in Airflow and the sandbox's page in a browser",
    ),
    Service("Node.js", ("npm",), ("nodejs", "npm"), "the sandbox with the vendor's own client"),
)


def main() -> int:
    """Print; 1 if something is missing."""
    missing = [service for service in SERVICES if not service.is_here()]
    packages = " ".join(package for service in missing for package in service.packages)
    if "--packages" in sys.argv:
        print(packages)
        return 0
    for service in SERVICES:
        print(f"{'missing' if service in missing else 'here':<8} {service.name:<11} {service.tested}")
    if missing:
        print(f"\nOn Debian: apt install {packages}")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
