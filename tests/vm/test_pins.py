"""Pins that fail, on the kernel's simulated chip: it vanishes under the service, and wires are tried one by one.

The witnesses are the agent, which says how loud it hears the microphone, and the lines themselves. Slow: by hand, with
`script/test-vm bookworm -m slow tests/vm/test_pins.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board import BUTTON, CONFIG, LED, READY_S, asking, press, serving
from guest import Guest
from wire import pause

pytestmark = pytest.mark.slow
SWITCH = 27
LOUD_DB = -60.0
# As the microphone is opened, or the card stops it; cheap, and with room for pauses of the emulated machine.
TONE = """python3 -c 'print(end=("\\0 " * 48 + "\\0a" * 48) * 10000)' >/run/tone.raw
while cat /run/tone.raw; do :; done | aplay -q -D hw:CARD=Loopback,DEV=0 -t raw -f S16_LE -r 48000 -B 1000000"""
WIRING = f"""cd /run/wiring; exec </run/wiring/answers; exec script -qec \\
  "/opt/venv/bin/device-agent setup wiring --set panel.button_pin={BUTTON} --set panel.led_pin={LED}" /dev/null \\
  >/host/wiring.txt"""


@pytest.fixture(scope="module")
def service(guest: Guest) -> Iterator[Guest]:
    """The service with a mute switch, and a tone at its microphone."""
    with serving(guest, f"mute_pin = {SWITCH}\n"):
        guest.start("tone", TONE)
        yield guest
        guest.stop("tone")


def loud_after(guest: Guest, since: float) -> list[bool]:
    """Of each piece of audio that the agent got since then, on the guest's clock: whether it was loud."""
    events: list[dict[str, Any]] = [json.loads(line) for line in guest.run("cat /run/events").splitlines()]
    return [event["dbfs"] > LOUD_DB for event in events if event["kind"] == "audio" and event["t"] > since]


LOUD = """grep '"audio"' | grep -Ev '"dbfs": -(1[0-9]|[6-9])[0-9]'"""


def hears_the_tone(guest: Guest) -> None:
    guest.wait_for(f"[ $(tail -n 20 /run/events | {LOUD} | wc -l) -gt 5 ]", timeout=READY_S)


def lose_the_chip(guest: Guest) -> None:
    """In a conversation, until the device has said so."""
    if guest.suite == "bookworm":
        pytest.skip("Linux 6.1 corrupts its memory when a chip goes whose lines are watched; 6.12 is well")
    gone = guest.now()
    guest.run("echo 0 >/sys/kernel/config/gpio-sim/chip/live")
    guest.wait_for(f"{asking('status')} | grep 'no GPIO chip'", timeout=READY_S)
    print(f"chip gone → said {guest.now() - gone:.1f} s, emulated")


def test_a_chip_that_vanishes_mutes_until_it_is_back(service: Guest) -> None:
    """The switch cannot be read: nothing of the tone goes out any more. With the chip back all of it works again."""
    press(service)
    hears_the_tone(service)
    pid = service.pid("device-agent")
    lose_the_chip(service)
    service.wait_for(f"! tail -n 20 /run/events | {LOUD}", timeout=READY_S)  # what was on its way has come
    since = service.now()
    pause(5)
    heard = loud_after(service, since)
    assert len(heard) > 20 and not any(heard)
    back = service.now()
    service.run("systemctl restart bench-pins")
    hears_the_tone(service)
    print(f"chip back → heard {service.now() - back:.1f} s, emulated")
    service.wait_for(f"grep 1 /run/pins/sim_gpio{LED}/value", timeout=READY_S)
    press(service)
    service.wait_for("tail -n 1 /run/events | grep closed", timeout=READY_S)
    assert service.pid("device-agent") == pid


def test_without_a_switch_the_tone_goes_on(service: Guest) -> None:
    """The counter-proof: where no switch was promised a lost chip mutes nothing, and the agent goes on hearing it."""
    service.put_text(CONFIG, "/etc/device-agent/config.toml")
    service.run("systemctl restart device-agent", timeout=2 * READY_S)
    press(service)
    hears_the_tone(service)
    lose_the_chip(service)
    since = service.now()
    pause(5)
    assert sum(loud_after(service, since)) > 20
    service.run("systemctl restart bench-pins")


class Wiring:
    """`setup wiring` in a terminal of the guest, as a person with eyes and hands uses it."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.said = guest.share / "wiring.txt"
        self.said.unlink(missing_ok=True)
        guest.run("systemctl stop device-agent; rm -rf /run/wiring; mkdir /run/wiring; mkfifo /run/wiring/answers")
        guest.start("hands", "exec 3<>/run/wiring/answers; sleep 600")
        guest.start("wiring", WIRING, BindReadOnlyPaths="/etc/cpuinfo.pi:/proc/cpuinfo")

    def until(self, words: str) -> None:
        self.guest.wait_for(f"grep -F '{words}' /host/wiring.txt", timeout=2 * READY_S)

    def see(self, words: str, line: int) -> None:
        """Asked whether it is lit, or dark: look at the line."""
        self.until(words)
        high = self.guest.run(f"cat /run/pins/sim_gpio{line}/value").strip() == "1"
        self.guest.run(f"echo {'y' if high == ('lit' in words) else 'n'} >/run/wiring/answers")

    def end(self) -> str:
        self.until("The drawing is in")
        self.guest.run("systemctl stop hands; test -s /run/wiring/wiring.svg")
        return Path(self.said).read_text()


def test_wires_are_tried_one_by_one(service: Guest) -> None:
    """The LED's line is seen high and low, the button's is pulled when it is asked for: both are good."""
    trial = Wiring(service)
    trial.see("lit? [y/n]", LED)
    trial.see("dark now? [y/n]", LED)
    trial.until("Press the button")
    press(service)
    said = trial.end()
    assert f"button button: good, at GPIO {BUTTON}" in said
    assert f"LED: good, at GPIO {LED}" in said


def test_wires_that_lead_elsewhere_are_said(service: Guest) -> None:
    """The counter-proof: who looks at another line sees a dark LED, and a button that nobody presses says nothing."""
    trial = Wiring(service)
    trial.see("lit? [y/n]", LED + 1)
    trial.see("lit now? [y/n]", LED + 1)
    said = trial.end()
    assert f"nothing came at GPIO {BUTTON}" in said
    assert f"the LED at GPIO {LED} stays dark" in said
