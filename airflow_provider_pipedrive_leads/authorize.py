"""``pipedrive-authorize``: lets an OAuth app into a Pipedrive company, and prints the refresh token for the form."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from http import HTTPStatus
from urllib.parse import parse_qs, urlencode

from airflow_provider_pipedrive_leads.api.connection import OAUTH_HOST, OAuthApp, Secret, secrets_of
from airflow_provider_pipedrive_leads.api.errors import PipedriveError
from airflow_provider_pipedrive_leads.api.foreign_words import basic_login
from airflow_provider_pipedrive_leads.api.oauth import authorize_url, code_form, read_tokens, refused
from airflow_provider_pipedrive_leads.api.server_address import server_address
from airflow_provider_pipedrive_leads.open_connections import NoAnswerError, OpenConnections

SECRET_VARIABLE = "PIPEDRIVE_CLIENT_SECRET"  # noqa: S105 - the name of a variable
TIMEOUT = 30.0
MAX_REPLY_BYTES = 1 << 20


def main(arguments: list[str] | None = None) -> int:
    """Ask for what is needed, print the refresh token to standard output; 0 if it worked."""
    options = _parser().parse_args(arguments)
    page = authorize_url(f"{options.server}/oauth/authorize", options.client_id, options.redirect_uri)
    print("1. Open this page and let the app in:", page, sep="\n   ", file=sys.stderr)
    print("2. Paste the address of the page that you come to, or its code (it lives 5 minutes):", file=sys.stderr)
    code = code_from(sys.stdin.readline())
    secret = os.environ.get(SECRET_VARIABLE) or getpass.getpass("3. The app's client secret: ", stream=sys.stderr)
    try:
        refresh_token = exchange(options.server, options.client_id, secret, code, options.redirect_uri)
    except (PipedriveError, NoAnswerError) as problem:
        words = problem if isinstance(problem, PipedriveError) else f"{options.server} gives no answer."
        print(f"pipedrive-authorize: {words}", file=sys.stderr)
        return 1
    print("Put this into 'OAuth refresh token' of the Airflow connection:", file=sys.stderr)
    print(refresh_token)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipedrive-authorize",
        description="Let an OAuth app into a Pipedrive company, and print the refresh token for Airflow's connection.",
        epilog=f"The client secret is asked for, or taken from the environment variable {SECRET_VARIABLE}.",
    )
    parser.add_argument("--client-id", required=True, help="client id of the app, from Pipedrive's Developer Hub")
    parser.add_argument("--redirect-uri", required=True, help="callback address, as it stands in the Developer Hub")
    parser.add_argument("--server", type=_server, default=OAUTH_HOST, help="another OAuth server, such as the sandbox")
    return parser


def _server(text: str) -> str:
    try:
        return server_address(text.strip()).url
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def code_from(pasted: str) -> str:
    """Take the code out of what was pasted: a whole address, or the code itself."""
    text = pasted.strip()
    codes = parse_qs(text.partition("?")[2].partition("#")[0]).get("code")
    return codes[0] if codes else text


def exchange(server: str, client_id: str, client_secret: str, code: str, redirect_uri: str) -> str:
    """Turn a code into a refresh token (vendor operation ``get-tokens``).

    :param server: address without a path.
    :raises PipedriveAuthError: the app or the code was refused.
    :raises NoAnswerError: the server gives no whole answer.
    """
    reply = OpenConnections().exchange(
        server,
        "POST",
        "/oauth/token",
        headers={
            "Authorization": f"Basic {basic_login(client_id, client_secret)}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept-Encoding": "identity",
        },
        body=urlencode(code_form(code, redirect_uri)).encode(),
        timeout=TIMEOUT,
        max_bytes=MAX_REPLY_BYTES,
        clock=time.monotonic,
    )
    if reply.status != HTTPStatus.OK:
        secrets = secrets_of(OAuthApp(client_id, Secret(client_secret), Secret(code), server))
        remedy = "The code is wrong or older than 5 minutes: start again."
        raise refused(reply.status, reply.body, remedy=remedy, secrets=secrets)
    return read_tokens(reply.body, now=time.time(), grant="").refresh_token.reveal


if __name__ == "__main__":
    sys.exit(main())
