"""A server of bytes: it says what a test wants it to say, however wrong, to one connection at a time or to many."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

FEW = 3
JSON_200 = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class RawServer:
    """Where it listens, what it was asked, and the end of the test, which lets everything that it holds back go."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.over = threading.Event()
        self.when_dripping: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def drip(self, connection: socket.socket, pieces: Iterator[bytes]) -> None:
        """Send piece after piece, until nobody takes them any more or the test is over; tell of it after some."""
        for count, piece in enumerate(pieces):
            connection.sendall(piece)
            if count == FEW:
                self.when_dripping()
            if self.over.wait(0.001):  # real time: how fast it drips is nothing that a test depends on
                return


@contextmanager
def raw_server(
    answer: Callable[[RawServer, socket.socket], None],
    *,
    reads: bool = True,
    wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection,
) -> Iterator[RawServer]:
    """Serve each connection in a thread of its own: read a request, then let ``answer`` do what it wants."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(listener.getsockname()[1])

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), connection, wrap(connection) as wrapped:
            server.requests.append(wrapped.recv(65536) if reads else b"")
            answer(server, wrapped)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=talk, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
