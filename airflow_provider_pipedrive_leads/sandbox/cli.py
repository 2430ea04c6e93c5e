"""``pipedrive-sandbox``: a local Pipedrive from the command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.sandbox.choices import CHOICES, PROFILES
from airflow_provider_pipedrive_leads.sandbox.hosts import is_this_machine
from airflow_provider_pipedrive_leads.sandbox.limits import PLANS
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from airflow_provider_pipedrive_leads.sandbox.world import DEFAULT_TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted or terminated."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        sandbox = Sandbox(
            leads=options.leads,
            seed=options.seed,
            plan=options.plan,
            seats=options.seats,
            profile=options.profile,
            token=options.token,
            host=options.host,
            port=options.port,
            latency=options.latency,
            state=options.state,
            choices=dict(options.choice),
        )
    except ValueError as error:
        print(f"pipedrive-sandbox: {error}", file=sys.stderr)
        return 2
    with sandbox:
        print(f"A local Pipedrive with {sandbox.control.lead_count()} leads; stop it with Ctrl-C.")
        print(f"API token {sandbox.token}")
        print(f"export AIRFLOW_CONN_PIPEDRIVE_DEFAULT='{json.dumps(sandbox.connection)}'")
        print(f"Listening on {sandbox.url}", flush=True)
        stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    choices = "\n".join(f"  {name} = {' | '.join(choice.values)}: {choice.decides}" for name, choice in CHOICES.items())
    parser = argparse.ArgumentParser(
        prog="pipedrive-sandbox",
        description="A local Pipedrive: the leads API over HTTP, with invented data, limits and no account.",
        epilog=f"What nobody knows for sure, and --choice plays (the likely value first):\n{choices}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="loopback address (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port (default 0: any free one)")
    parser.add_argument("--leads", type=int, default=200, help="seeded leads, archived ones included (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same data (default 1)")
    parser.add_argument(
        "--plan", choices=PLANS, default="ultimate", help="plan, which sets the limits (default ultimate)"
    )
    parser.add_argument("--seats", type=int, default=1, help="seats, which multiply the daily budget (default 1)")
    parser.add_argument("--token", default=DEFAULT_TOKEN, help="API token of the administrator")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply (default 0)")
    parser.add_argument("--state", type=Path, help="SQLite file to keep the data in (default: memory)")
    parser.add_argument(
        "--profile", choices=PROFILES, default="likely", help="how unknowns are played (default likely)"
    )
    parser.add_argument(
        "--choice",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one unknown; may be repeated",
    )
    return parser


def _loopback(text: str) -> str:
    if not is_this_machine(text):
        raise argparse.ArgumentTypeError(f"{text} is no loopback address")
    return "127.0.0.1" if text == "localhost" else text


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
