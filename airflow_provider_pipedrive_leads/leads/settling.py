"""Creating small things that carry no key of their own: notes and labels.

What a server did with a create that got no clean answer shows in its lists, but only some time later: it may finish
what its client gave up.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.errors import PipedriveError
from airflow_provider_pipedrive_leads.leads.create_once import MOST_SENT, find_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_pipedrive_leads.leads.create_once import Patience

log = logging.getLogger(__name__)


def sent_until_sure(
    send: Callable[[], dict[str, Any]], look: Callable[[], dict[str, Any] | None], patience: Patience
) -> dict[str, Any]:
    """Send a create; where its outcome is unknown look for what it made, and send again only what is not there.

    :param send: makes the call, and gives what was made.
    :param look: gives what was made, None if it is not there (yet).
    :param patience: how long it may take to appear.
    :return: what ``send`` or ``look`` gave.
    :raises PipedriveError: it cannot be made; not in doubt any more where its absence was seen.
    """
    for last in (False,) * (MOST_SENT - 1) + (True,):
        try:
            return send()
        except PipedriveError as error:
            if not error.in_doubt:
                raise
            log.warning("%s Looking whether it was done.", error)
            found = find_after(look, patience.settle, patience)
            if found is not None:
                return found
            if last:
                error.in_doubt = False  # it was looked for: a later try does no harm
                raise
    raise AssertionError("unreachable")
