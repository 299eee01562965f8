"""A service of one's own, for as long as it is needed."""

import os
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

LONGEST_START = 30
LONGEST_STOP = 40


@contextmanager
def fresh_service(program):
    """Serves an empty database; answers the address."""
    with tempfile.TemporaryDirectory() as folder, service(program, [], folder) as address:
        yield address


@contextmanager
def service(program, arguments, folder):
    """Runs `rapport serve` in a folder, on a free port; answers the address. Complains if it does not stop in order, or has
    logged an error."""
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [Path(program).resolve(), "serve", *arguments],
            cwd=folder,
            env={**os.environ, "RAPPORT_GRPC_ADDR": address, "RAPPORT_HTTP_ADDR": "127.0.0.1:0"},
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(process, address, log)
            yield address
        finally:
            process.terminate()
            code = process.wait(LONGEST_STOP)
        errors = [line for line in text(log).splitlines() if " ERROR " in line]
        if code or errors:
            raise SystemExit(f"the service ended with {code}; its log has {len(errors)} errors:\n{text(log)}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(process, address, log):
    host, port = address.split(":")
    end = time.monotonic() + LONGEST_START
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"the service did not start:\n{text(log)}")


def text(log):
    log.seek(0)
    return log.read()
