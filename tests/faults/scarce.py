"""Rows of what the machine cannot give, in which the program mostly waits: memory and threads."""

from __future__ import annotations

import base64
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from bed import Run, Server, pause, started
from link_peer import TEXT, Peer

RECOVERY_S = 8.0
RESTART_S = 14.0
NOISE_S = 1.0
Environ = dict[str, str]


def heard(server: Server, peer: Peer, seconds: float) -> tuple[Peer, float]:
    """When the device is heard for half a second, in this conversation or in one that it opened instead."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            for _ in range(25):
                peer.read()
            return peer, time.monotonic() - began
        except (AssertionError, OSError):
            peer.sock.close()
            peer = server.talk()
    raise AssertionError(f"not heard within {seconds} s")


def starved(environ: Environ, sabotage: str) -> tuple[float, int]:
    """Row 48: the address space is full when messages of 16 MB come. The longest silence, and how many were lost."""
    audio = base64.b64encode(bytes(11_900_000)).decode()
    data = json.dumps({"type": "audio", "audio_event": {"audio_base_64": audio, "event_id": 1}}).encode()
    server = Server()
    server.listener.settimeout(RECOVERY_S)
    with started(environ, server, sabotage=sabotage) as run:
        peer, took, lost = server.talk(), [], 0
        with run.control() as client:
            run.has_cards(client)  # and with them all its threads
        with run.limited(resource.RLIMIT_AS, run.kb("VmSize") * 1024):
            for _ in range(4):
                with suppress(OSError):
                    peer.frame(TEXT, data)
                before = peer
                peer, seconds = heard(server, peer, RECOVERY_S)
                took.append(seconds)
                lost += peer is not before
        assert run.process.poll() is None
        heard(server, peer, RECOVERY_S)
    assert lost, "there was memory enough"
    return max(took), lost


@contextmanager
def no_threads(run: Run) -> Iterator[None]:
    """A control group in which nobody may start a thread."""
    tree = next(
        root for root in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if (root / "cgroup.procs").exists()
    )
    group = tree / f"device-agent-{run.process.pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(run.process.pid))
        (group / "pids.max").write_text("1")  # those that it has may stay
        yield
    finally:
        with suppress(ProcessLookupError):
            (tree / "cgroup.procs").write_text(str(run.process.pid))
        while (group / "cgroup.procs").read_text():  # it ends
            pause(0.02)
        group.rmdir()


def blocked(environ: Environ, sabotage: str) -> float:
    """Row 33: without its own thread the sound server's library blocks for ever when the loudspeaker opens, with a lock
    held. Nobody can help within the process; until it has ended by itself, for systemd to start it again. Spoilt is
    the fault: with threads to be had the loudspeaker opens, and the process lives.
    """
    server = Server()
    with started(environ, server) as run:
        peer = server.talk()
        peer.reset()  # the loudspeaker closes, and opens again with the next connection
        peer = server.talk()
        with run.control() as client:
            run.has_cards(client)
        with nullcontext() if sabotage else no_threads(run):
            peer.reset()
            peer = server.talk()
            began = time.monotonic()
            code = run.process.wait(RESTART_S + NOISE_S)
            took = time.monotonic() - began
            peer.sock.close()
    assert code == 70, code
    return took
