"""The application whose start is measured: a socket that answers, and nothing that takes time. PORT says where."""

import contextlib
import os
import socket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def main() -> None:
    """Serve, one connection after the other, until the process is ended."""
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as listener:
        while True:
            connection, _ = listener.accept()
            # Who asked may be gone before the answer: not this application's trouble.
            with connection, contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    connection.sendall(ANSWER)


if __name__ == "__main__":
    main()
