"""One TCP connection with Python's own sockets: it shows what each read returns.

Start it, then connect from another terminal: ``nc localhost 8080``. It serves one client.
"""

import os
import socket
import sys


def main(port: str = "8080") -> None:
    try:
        server = socket.create_server(("127.0.0.1", int(port)))
    except OSError as error:
        sys.exit(f"Cannot listen: port {port}: {os.strerror(error.errno or 0)}")
    print("Listening on port", server.getsockname()[1], flush=True)
    connection, (host, number) = server.accept()
    print("A client connects from", host, "port", number)
    count = 0
    while data := connection.recv(65536):  # b"" means: the client has sent its last byte
        print("Read", data)
        count += len(data)
    print("The client has sent its last byte.")
    connection.sendall(b"%d bytes have arrived.\n" % count)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
