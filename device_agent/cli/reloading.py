"""What `run` does when it is told to read its configuration again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from device_agent.config.reload import Change, change
from device_agent.config.schema import Settings
from device_agent.core import events as e
from device_agent.device import Device
from device_agent.observers import LogObserver


class Reloading:
    """Called by the control thread. `load` raises `ConfigError` with every mistake; nothing is changed then.

    `lasting` are problems that no reading of the configuration mends, such as a key that could not be read.
    """

    def __init__(
        self,
        device: Device,
        held: Settings,
        load: Callable[[], Settings],
        observer: LogObserver | None,
        lasting: Sequence[str] = (),
    ) -> None:
        self._device = device
        self._held = held
        self._load = load
        self._observer = observer
        self._lasting = tuple(lasting)

    def __call__(self) -> Change:
        done = change(self._held, self._load())
        self._held = done.settings
        sounds, log = done.settings.sounds, done.settings.log
        self._device.post(e.SoundsWanted(sounds.earcons, sounds.speech, sounds.language))
        self._device.flight.transcripts = log.transcripts
        if self._observer is not None:  # else a timeline is told, whatever the configuration says
            logging.getLogger().setLevel(log.level.upper())
            self._observer.transcripts(log.transcripts)
        if self._device.problems:  # it runs on its last good configuration: the new one may need a restart
            waiting = (f"mended; holds after a restart: {', '.join(done.later)}",) if done.later else ()
            self._device.problems = "; ".join((*self._lasting, *waiting))
        return done
