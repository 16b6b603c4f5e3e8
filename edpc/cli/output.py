"""Where bytes and tables go: files, a pipe, a terminal; and the sign of life on long work."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from edpc.emit.document import Block

_PATIENCE_S = 1.0


def on_terminal(stream: TextIO) -> bool:
    """Whether colour and motion suit the stream: a terminal that is not dumb, or FORCE_COLOR asks for it."""
    return (stream.isatty() or bool(os.environ.get("FORCE_COLOR"))) and os.environ.get("TERM") != "dumb"


def write_stdout(data: bytes | Iterable[bytes]) -> None:
    """Writes data, whole or in pieces, to stdout; a reader that has gone has seen enough, which is no error."""
    try:
        sys.stdout.flush()  # text that went before
        for piece in (data,) if isinstance(data, bytes) else data:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _reader_gone()


def show(blocks: Iterable[Block]) -> None:
    """Prints tables on stdout: with rich on a terminal, plainly elsewhere. NO_COLOR is honoured by rich."""
    if not on_terminal(sys.stdout):
        from edpc.emit.document import to_text

        write_stdout(to_text(blocks).encode())
        return
    from rich.console import Console

    from edpc.emit.terminal import show as show_rich

    try:
        show_rich(blocks, Console(highlight=False))
        sys.stdout.flush()
    except BrokenPipeError:
        _reader_gone()


@contextmanager
def sign_of_life(text: str, wanted: bool) -> Iterator[None]:
    """Shows a spinner on stderr while the block runs, where that is a terminal, once it has taken more than a second."""
    if not wanted or not (sys.stderr.isatty() and on_terminal(sys.stderr)):
        yield
        return
    done = threading.Event()

    def spin() -> None:
        if done.wait(_PATIENCE_S):
            return
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(text)):
            done.wait()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _reader_gone() -> None:
    """Sends what may still be written to nowhere, so that closing stdout cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
