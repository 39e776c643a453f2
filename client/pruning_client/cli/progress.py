"""The progress bar: drawn on stderr while a call runs, if that is a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from pruning_client.calls.exchange import Progress, Watcher


@contextmanager
def progress_bar() -> Iterator[Watcher]:
    """Show a bar while the block lasts; return the watcher that moves it."""
    columns = (TextColumn("{task.description:>8}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        searching = bar.add_task("search", total=None, visible=False)
        sending, receiving = bar.add_task("send", total=None), bar.add_task("receive", total=None, visible=False)

        def show(progress: Progress) -> None:
            send = "send" if progress.attempt == 1 else f"send ({progress.attempt})"
            bar.update(sending, description=send, completed=progress.sent_bytes, total=progress.total_bytes)
            if progress.searched_bytes:
                bar.update(searching, completed=progress.searched_bytes, visible=not progress.received_bytes)
            if progress.result_bytes is not None:
                bar.update(receiving, completed=progress.received_bytes, total=progress.result_bytes, visible=True)

        yield show
