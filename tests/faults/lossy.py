"""A bad line of packets: between two tunnels a program delays, drops and paces IP packets, as netem would.

The kernel's own netem and rate limit are not in every kernel; tunnels are. TCP's own timers and losses are real.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
NEAR, FAR = "10.254.79.2", "10.254.79.1"
"""The device's address, and the server's."""


@dataclass
class Way:
    """One direction: so much delay, so many packets lost, so many bits a second (0: any number), so long a queue."""

    delay_s: float
    loss: float
    bits: int = 0
    queue_s: float = 1.0
    free_at: float = 0.0
    passed: int = 0
    lost: int = 0

    def admit(self, size: int, now: float, rng: random.Random) -> float | None:
        """When a packet comes out at the other end; None: never."""
        if rng.random() < self.loss or self.free_at - now > self.queue_s:
            self.lost += 1
            return None
        self.passed += 1
        self.free_at = max(now, self.free_at) + (8 * size / self.bits if self.bits else 0.0)
        return self.free_at + self.delay_s


class Line(threading.Thread):
    """Carries packets between the two tunnels until it is closed. Owns both descriptors; blocks in `select`."""

    def __init__(self, near: int, far: int, up: Way, down: Way, seed: int = 5) -> None:
        super().__init__(daemon=True)
        self._ends = {near: (far, up), far: (near, down)}
        self._rng = random.Random(seed)
        self._over, self._close = os.pipe()

    def run(self) -> None:
        due: list[tuple[float, int, int, bytes]] = []
        count = 0
        while True:
            wait = max(0.0, due[0][0] - time.monotonic()) if due else None
            ready, _, _ = select.select([*self._ends, self._over], [], [], wait)
            now = time.monotonic()
            if self._over in ready:
                return
            for end in ready:
                packet = os.read(end, 65536)
                other, way = self._ends[end]
                at = way.admit(len(packet), now, self._rng)
                if at is not None:
                    heapq.heappush(due, (at, count := count + 1, other, packet))
            while due and due[0][0] <= now:
                _, _, other, packet = heapq.heappop(due)
                os.write(other, packet)

    def close(self) -> None:
        os.close(self._close)
        self.join()
        for descriptor in (*self._ends, self._over):
            os.close(descriptor)


def tunnel(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True)


@contextmanager
def line(up: Way, down: Way) -> Iterator[tuple[str, ...]]:
    """A network namespace whose only way to `FAR` is that line; the command's prefix that runs something in it."""
    name = f"dl{os.getpid() % 10000}"
    ip("netns", "add", name)
    try:
        near, far = tunnel(f"{name}n"), tunnel(f"{name}f")
        ip("link", "set", f"{name}n", "netns", name)
        ip("address", "add", FAR, "peer", NEAR, "dev", f"{name}f")
        ip("link", "set", f"{name}f", "up")
        ip("-n", name, "address", "add", NEAR, "peer", FAR, "dev", f"{name}n")
        ip("-n", name, "link", "set", f"{name}n", "up")
        carrier = Line(near, far, up, down)
        carrier.start()
        try:
            yield ("ip", "netns", "exec", name)
        finally:
            carrier.close()
    finally:
        ip("netns", "delete", name)
