"""`python -m pruning_service`: serve until SIGTERM or SIGINT."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Final, NoReturn

import pruning_service.startup  # noqa: F401 - SIGTERM is handled while everything else is imported
from pruning_service.local_settings import SettingsError
from pruning_service.observability import log_format
from pruning_service.options import parse
from pruning_service.resources.devices import DeviceError
from pruning_service.resources.process_memory import configure_allocator
from pruning_service.server import running
from pruning_service.settings import Settings, read_settings

LEAVE_SECONDS: Final = 10.0
"""How long after the drain the process may take to end, before it ends itself."""

_log = logging.getLogger("pruning_service")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; return the exit status: 0 after a clean stop, 1 if the device is lost, 2 if a setting is invalid."""
    options, until_stdin_closes = parse(arguments)
    try:
        settings = read_settings(os.environ, **options)
        log_format.configure(settings.log_level, settings.log_format)
        configure_allocator()
        return asyncio.run(_serve(settings, until_stdin_closes=until_stdin_closes))
    except (SettingsError, DeviceError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


async def _serve(settings: Settings, *, until_stdin_closes: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _stop_signals():
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stop)
    async with running(settings) as server:
        gc.enable()  # disabled by `startup`; all that is imported is excluded from collections by now
        _log.info(
            "listening address=%s metrics=%s health=%s %s",
            *(server.address, server.metrics_address, server.health_address, _security(settings)),
        )
        await _first_of(stop, server.device_lost)
        _leave_at_the_latest(settings.drain_seconds + LEAVE_SECONDS)
        _log.info("stopping drain_seconds=%g", settings.drain_seconds)
    _log.info("stopped")
    return 1 if server.device_lost.is_set() else 0


def _stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop the server: SIGHUP too, unless `nohup` has it ignored."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if is_ignored else (signal.SIGHUP,)))


def _leave_at_the_latest(seconds: float) -> None:
    """End the process after `seconds`, or at the next signal, whatever still runs."""
    loop = asyncio.get_running_loop()
    for number in _stop_signals():
        loop.remove_signal_handler(number)
        signal.signal(number, lambda *_: _leave("a second signal"))
    timer = threading.Timer(seconds, _leave, [f"not stopped after {seconds:g} s"])
    timer.daemon = True
    timer.start()


def _leave(why: str) -> NoReturn:
    os.write(sys.stderr.fileno(), f"leaving at once: {why}\n".encode())  # a log's lock may be held by what is stuck
    os._exit(1)  # threads that still work for a call would keep the process


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


if __name__ == "__main__":
    sys.exit(main())
