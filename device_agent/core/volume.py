"""The volume: within its limits, whoever sets it."""

from __future__ import annotations

from device_agent.config.schema import Audio
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.state import State


class Volume:
    """Turns wishes into `SetVolume`; the snapshot holds what is set. The loudspeaker's driver starts at 100."""

    def __init__(self, settings: Audio, state: State) -> None:
        self._settings = settings
        self._state = state

    def restore(self, kept: e.Restored) -> None:
        """What a person set in the last run counts more than the configuration's first volume."""
        self._set(self._settings.volume if kept.volume is None else kept.volume)

    def wish(self, wish: e.Volume) -> None:
        """A person turns a knob, presses a button or names a level."""
        self._set(wish.level if wish.level is not None else self._state.snapshot.volume + wish.change)

    def _set(self, volume: int) -> None:
        volume = max(0, min(volume, self._settings.volume_max))
        self._state.change(volume=volume)
        self._state.orders.append(c.SetVolume(volume))
