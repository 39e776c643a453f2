"""`python -m pruning_service`: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

import pruning_service.early_stop  # noqa: F401 - SIGTERM is heard while all else is loaded
from pruning_service.observability import log_format as logs
from pruning_service.resources import allocator
from pruning_service.resources.engine_worker import DeviceError
from pruning_service.server import running
from pruning_service.settings import Settings, SettingsError, read_settings

_log = logging.getLogger("pruning_service")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; give the exit status: 0 after a clean stop, 1 if the device is lost, 2 if the settings make no sense."""
    parsed = _parser().parse_args(arguments)
    options = {name: text for name, text in vars(parsed).items() if isinstance(text, str)}
    try:
        settings = read_settings(os.environ, **options)
        logs.configure(settings.log_level)
        allocator.configure()
        return asyncio.run(_serve(settings, until_stdin_closes=parsed.until_stdin_closes))
    except (SettingsError, DeviceError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


async def _serve(settings: Settings, *, until_stdin_closes: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stop)
    async with running(settings) as server:
        _log.info(
            "listening address=%s metrics=%s health=%s %s",
            *(server.address, server.metrics_address, server.health_address, _security(settings)),
        )
        await _first_of(stop, server.device_lost)
        _log.info("stopping drain_seconds=%g", settings.drain_seconds)
    _log.info("stopped")
    return 1 if server.device_lost.is_set() else 0


def _security(settings: Settings) -> str:
    tls = "none" if not settings.is_tls else "server" if settings.tls_client_ca is None else "mutual"
    return f"tls={tls} tokens={'no' if settings.token_file is None else 'yes'}"


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _stop_at_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prune serve",
        description="Serve pruning.v1.PruningService. Every setting is also an environment variable PRUNING_*; "
        "an option here wins. Stages cleanly on SIGTERM.",
    )
    parser.add_argument("--listen", metavar="ADDRESS", help="host:port or unix:/path (default: 127.0.0.1:50051)")
    parser.add_argument(
        "--metrics-listen", metavar="ADDRESS", help="host:port for Prometheus, or none (default: 127.0.0.1:9464)"
    )
    parser.add_argument(
        "--health-listen", metavar="ADDRESS", help="host:port for health alone, in the clear, or none (default: none)"
    )
    parser.add_argument("--tls-cert", dest="tls_certificate", metavar="FILE", help="serve TLS with this certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="the certificate's private key")
    parser.add_argument("--tls-client-ca", metavar="FILE", help="ask clients for certificates that this one signed")
    parser.add_argument("--token-file", metavar="FILE", help="let in callers whose token this file knows")
    parser.add_argument(
        *("--allow-plaintext",),
        action="store_const",
        const="true",
        help="listen in the clear also where other machines reach it",
    )
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:<number> (default: auto)")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input closes, as a child process does"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
