"""`device-agent run` with a button that can be pressed: lines on stdin drive the pins of the mock backend.

`press` and `release` move the button, `come` the presence sensor, `volume 50` and `mute` stand for what others order;
a card that runs is `up`; each change of the light is
one line on stdout, with its time: `light` when it was ordered, `pin` with its level when the LED's pin had it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from operator import attrgetter

from device_agent.config.load import load
from device_agent.config.paths import Paths
from device_agent.config.secrets import Secrets
from device_agent.core import events as e
from device_agent.core.commands import Command, Show
from device_agent.core.indicator import Snapshot
from device_agent.device import Device
from device_agent.supervisor import Inbox, Line, Supervisor
from device_agent.system.log import LineWriter
from device_agent.system.notify import Notifier


def main(settings: Sequence[str]) -> int:
    sys.setswitchinterval(0.001)
    inbox = Inbox()

    def tell(now: float, event: e.Event, commands: Sequence[Command], snapshot: Snapshot) -> None:
        if isinstance(event, e.PanelUp):
            threading.Thread(target=watch_pin, daemon=True).start()
            inbox.put(Line(f"ready {now}"))
        if isinstance(event, e.DeviceUp):
            inbox.put(Line(f"up {event.device} {now}"))
        for command in commands:
            if isinstance(command, Show):
                inbox.put(Line(f"light {command.indicator.value} {now}"))

    supervisor = Supervisor(inbox, LineWriter(1).write, Notifier({}))
    loaded = load(Paths.standard(os.environ, only=os.devnull), {}, settings)
    device = Device(loaded.settings, Secrets(), supervisor, [tell])

    def act(word: str, *arguments: str) -> None:
        if word == "volume":
            device.post(e.Volume(level=int(*arguments)))
        elif word == "mute":
            device.post(e.MuteSwitch(True))
        else:
            pins = supervisor.worker("panel").pins  # type: ignore[attr-defined]
            move = {"press": "button.drive_low", "release": "button.drive_high", "come": "presence.drive_high"}[word]
            attrgetter(move)(pins)()

    def watch_pin() -> None:
        pins = supervisor.worker("panel").pins  # type: ignore[attr-defined]
        pause, last = threading.Event(), pins.led.state
        while not pause.wait(0.001):
            if pins.led.state != last:
                last = pins.led.state
                inbox.put(Line(f"pin {float(last):.3f} {time.monotonic()}"))

    def press_buttons() -> None:
        for line in sys.stdin:
            inbox.put(Line(f"{line.strip()} {time.monotonic()}"))
            act(*line.split())

    threading.Thread(target=press_buttons, daemon=True).start()
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
