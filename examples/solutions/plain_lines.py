"""Print whole lines, however the stream is cut into pieces."""

import socket
import sys


def main(port: str = "8080") -> None:
    server = socket.create_server(("127.0.0.1", int(port)))
    print("Listening on port", server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    rest = b""  # what has arrived of the next line
    while data := connection.recv(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            print("Line", line)
    if rest:
        print("The end of a line is missing:", rest)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
