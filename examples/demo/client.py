# The demo's Python client: python3 client.py SOCKET
# It sends an open file that has no name, and gets the file's digest back in a memfd.

import hashlib
import os
import socket
import sys
import tempfile

TEXT = b"A descriptor is an open file, not its name:\nthis one has never had any.\n"

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(sys.argv[1])

    with tempfile.TemporaryFile() as file:
        file.write(TEXT)
        file.seek(0)
        socket.send_fds(server, [b"file from %d" % os.getpid()], [file.fileno()])

    data, fds, flags, _ = socket.recv_fds(server, 1024, 1)
    if data != b"memfd" or len(fds) != 1:
        sys.exit(f"expected a memfd, got {data} and {len(fds)} descriptors")

    found = os.pread(fds[0], 1024, 0).decode()
    os.close(fds[0])
    good = found == hashlib.sha256(TEXT).hexdigest()
    server.send(b"it matches" if good else b"it differs: " + found.encode())
