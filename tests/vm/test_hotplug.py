"""Cards that really go and come back, under one process in a conversation; its sound is what the kernel says it is.

The machine is emulated, so the times are printed, not judged beyond a wide bound.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from guest import Guest
from wire import pause

USB, LOOPBACK = ("usb", "Audio", "Audio/pcm0p"), ("loopback", "Loopback", "Loopback/pcm1c")
CYCLES = 10
EMULATED_S = 60.0
BUSY = "hw:CARD=Audio"
TALKER = """exec device-agent run --config /dev/null --set agent.id=a --set server.url=ws://127.0.0.1:8765 \\
  --set activation.modes=always-on --set audio.echo=off --set audio.input=id:Loopback,1 --set audio.output=USB \\
  --set session.idle_close_s=0"""


class Watch:
    """What the kernel says the program holds, from the start of the watching on; read through the shared folder."""

    def __init__(self, guest: Guest, pid: int) -> None:
        self.pid = pid
        self._file = guest.share / "watch.json"
        self._file.unlink(missing_ok=True)
        guest.put(Path(__file__).with_name("watch_cards.py"), "/run/watch_cards.py")
        guest.start("watch", f"exec python3 /run/watch_cards.py {pid} >/host/watch.json")

    def looks(self) -> list[dict[str, Any]]:
        """All changes so far."""
        lines = self._file.read_text().splitlines(keepends=True) if self._file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool], after: float = 0.0) -> float:
        """When this held first, on the guest's clock; `after` begins at the last change before it."""
        end = time.monotonic() + EMULATED_S
        while time.monotonic() < end:
            for look in self.looks():
                if look["t"] >= after and holds(look):
                    return float(look["t"])
            pause(0.1)
        raise AssertionError(f"{what}: not within {EMULATED_S} s; last: {self.looks()[-1:]}")

    def latest(self) -> float:
        """The time of the last change."""
        return float(self.looks()[-1]["t"])


def leaked(look: dict[str, Any]) -> list[str]:
    """Streams that are open although their card is gone."""
    return [file for file in look["held"] if "deleted" in file]


def both_run(look: dict[str, Any]) -> bool:
    return {USB[2], LOOPBACK[2]} <= set(look["running"])


@pytest.fixture(scope="module")
def talker(guest: Guest) -> Iterator[Watch]:
    """The program in a conversation, with the two cards in use."""
    guest.run("modprobe snd-aloop")
    guest.start("simulator", "exec device-agent bench simulate --port 8765 --events /run/events")
    guest.wait_for("ss -tln | grep :8765", timeout=120)
    guest.start("talker", TALKER)
    guest.wait_for("grep '\"audio\"' /run/events", timeout=120)
    watch = Watch(guest, guest.pid("talker"))
    watch.until("both cards run", both_run)
    yield watch
    for unit in ("watch", "talker", "simulator"):
        guest.attempt(f"systemctl stop {unit}")  # the watch ends with the program
    guest.wait_for("modprobe -r snd-aloop", timeout=60)


def heard(guest: Guest) -> int:
    """How many pieces of the microphone's audio the server has received."""
    return int(guest.run("grep -c '\"audio\"' /run/events"))


def descriptors(guest: Guest, pid: int) -> int:
    return len(guest.run(f"ls /proc/{pid}/fd").split())


def cycle(guest: Guest, watch: Watch, card: str, name: str, stream: str) -> tuple[float, float]:
    """Unplug, wait until the program has let go, plug in, wait for samples; how long either took."""
    began = watch.latest() + 0.001
    guest.unplug(card)
    gone = watch.until(f"{name} is gone", lambda look: name not in look["cards"], began)
    released = watch.until("let go", lambda look: name not in look["cards"] and not leaked(look), began)
    pause(1)  # nobody is faster; and the emulated port may miss a plug that comes with the unplugging
    guest.plug(card)
    back = watch.until(f"{name} is back", lambda look: name in look["cards"], released)
    running = watch.until(f"{stream} runs", lambda look: stream in look["running"], back)
    return released - gone, running - back


def test_ten_times_unplugged_and_back(guest: Guest, talker: Watch) -> None:
    """Loudspeaker and microphone in turn: let go of and used again each time by the same process, nothing leaked."""
    before = descriptors(guest, talker.pid)
    found = [cycle(guest, talker, *(USB, LOOPBACK)[turn % 2]) for turn in range(CYCLES)]
    for title, times in zip(("let go after", "samples after"), zip(*found, strict=True), strict=True):
        print(f"{title} {median(times):.2f} s, at most {max(times):.2f} s: {[round(t, 2) for t in times]}")
    talker.until("both cards run", both_run, talker.latest())
    assert guest.pid("talker") == talker.pid
    assert leaked(talker.looks()[-1]) == []
    assert descriptors(guest, talker.pid) <= before
    so_far = heard(guest)
    guest.wait_for(f"[ $(grep -c '\"audio\"' /run/events) -gt {so_far + 50} ]", timeout=EMULATED_S)


def test_the_watch_sees_a_program_that_does_not_let_go(guest: Guest, talker: Watch) -> None:
    """The sabotage: a process that stands still holds on to a card that is gone, and `cycle` would fail."""
    began = talker.latest() + 0.001
    guest.run(f"kill -STOP {talker.pid}")
    try:
        guest.unplug("usb")
        talker.until("the card is gone and held", lambda look: bool(leaked(look)), began)
        pause(3)
        assert leaked(talker.looks()[-1])
    finally:
        guest.run(f"kill -CONT {talker.pid}")
        guest.plug("usb")
    talker.until("both cards run", both_run, talker.latest() + 0.001)


def test_a_card_in_use_at_the_start_is_opened_once_it_is_free(guest: Guest, talker: Watch) -> None:
    """Another program has the loudspeaker: the device says who, talks meanwhile, and takes it when it is free."""
    guest.stop("talker")
    guest.start("holder", f"exec aplay -q -D {BUSY} -t raw -f S16_LE -r 48000 -c 2 /dev/zero")
    guest.wait_for("grep RUNNING /proc/asound/Audio/pcm0p/sub0/status")
    guest.start("talker", TALKER)
    said = "journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID talker)"
    reason = guest.wait_for(f"{said} | grep 'device-down device=loudspeaker'", timeout=120)
    assert "in use by aplay" in reason, reason
    so_far = heard(guest)
    guest.wait_for(f"[ $(grep -c '\"audio\"' /run/events) -gt {so_far + 50} ]", timeout=60)
    guest.stop("holder")
    pid = guest.pid("talker")
    guest.wait_for(f"readlink /proc/{pid}/fd/* | grep -q 'pcmC[0-9]*D0p$'", timeout=60)
    guest.wait_for("grep RUNNING /proc/asound/Audio/pcm0p/sub0/status", timeout=60)
