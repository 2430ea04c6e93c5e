"""The link from an export to the folder that its file is in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

AMAZON_SCHEMES = ("s3", "s3a", "s3n")
GOOGLE_SCHEMES = ("gs", "gcs")
WEB_SCHEMES = ("http", "https")
PLACE = re.compile(
    r"(?P<scheme>[a-z0-9]+)://(?:[^/]*@)?(?P<server>[\w.-]+)(?P<port>:[0-9]+)?(?:/(?P<key>.*))?", re.DOTALL
)
"""What does not fit has no link: a password with a slash in it would pass for a server and a key."""


def web_address(path: str) -> str:
    """Say where people can look at a file in the browser: mostly the folder it is in; nothing of a login or a query.

    Azure's portal has no address that follows from a path, and other places have none at all.

    :param path: of a file, or, with a slash at the end, of a folder.
    :return: an empty string where there is no such address.
    """
    found = PLACE.fullmatch(re.split("[?#]", path)[0])
    if not found:
        return ""
    scheme, server, port, key = found.group("scheme", "server", "port", "key")
    if scheme in WEB_SCHEMES:
        return "" if "@" in (key or "") else f"{scheme}://{server}{port or ''}/{key or ''}"
    folder = quote("".join((key or "").rpartition("/")[:2]))
    if scheme in AMAZON_SCHEMES and not port:
        return f"https://s3.console.aws.amazon.com/s3/buckets/{server}" + f"?prefix={folder}" * bool(folder)
    if scheme in GOOGLE_SCHEMES and not port:
        return f"https://console.cloud.google.com/storage/browser/{server}" + f"/{folder}" * bool(folder)
    return ""


class LeadsFileLink(BaseOperatorLink):
    """The button of a task that exported leads. Airflow makes the link when the task ends, on the worker."""

    name = "Exported leads"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Link to where the file is, or to the folder of parts.

        :param operator: has a rendered ``path`` and, where there are parts, ``rows_per_file``.
        :return: an empty string, and so no link, where there is nothing to see in a browser.
        """
        path = str(getattr(operator, "path", ""))
        parts = getattr(operator, "rows_per_file", None)
        return web_address(f"{path.rstrip('/')}/" if parts else path)
