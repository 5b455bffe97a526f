"""The device hears itself: a chirp of its loudspeaker must reach its microphone, or months may pass in silence.

At the start, and once a day from then on, while nobody talks with it; after a failure every hour.
"""

from __future__ import annotations

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.sounds import Sounds
from device_agent.core.state import State
from device_agent.core.tables import Link

FIRST_S = 5.0
DAILY_S, AGAIN_S, BUSY_S = 86_400.0, 3600.0, 60.0
OPENS_S = 5.0  # a microphone that has not delivered by then is its driver's to report
LASTS_S = 1.5  # from the chirp's order until it must have been heard
LEAST_VOLUME = 20  # softer than this nobody hears a chirp


class SelfCheck:
    """`running`: microphone (uncancelled) and loudspeaker are open for it."""

    def __init__(self, wanted: bool, state: State, sounds: Sounds) -> None:
        self.running = False
        self._wanted = wanted
        self._state = state
        self._sounds = sounds
        self._first: int | None = None
        self._last = 0

    def start(self) -> None:
        """The device is up."""
        if self._wanted:
            self._state.after("check", FIRST_S)

    def stop(self) -> None:
        """The device is about to end."""
        self.running = self._wanted = False
        self._state.cancel("check")

    def due(self) -> None:
        """Begin, go on, or come to an end: whatever the timer was set for."""
        if self.running:
            self._end()
        elif self._free:
            self.running, self._first = True, None
            self._state.after("check", OPENS_S)
        else:
            self._state.after("check", BUSY_S)

    def frame(self, frame: e.Frame) -> None:
        """The microphone delivers: chirp, and note what it hears."""
        if self._first is None:
            self._first = frame.seq
            self._sounds.chirp()
            self._state.after("check", LASTS_S)
        self._last = frame.seq

    def look(self) -> None:
        """After each event: whoever wants to talk comes first."""
        if self.running and not self._free:
            self.running = False
            self._state.after("check", BUSY_S)

    def found(self, result: e.ChirpSearched) -> None:
        """What became of the chirp."""
        dead = "microphone hears nothing at all: is it muted in the mixer, or broken?" if result.silent else ""
        lost = "the chirp was not heard: is the loudspeaker plugged in and turned up?"
        self._state.change(microphone_check=dead, loudspeaker_check="" if result.heard or dead else lost)
        self._state.after("check", DAILY_S if result.heard else AGAIN_S)

    @property
    def _free(self) -> bool:
        seen = self._state.snapshot
        broken = seen.muted or seen.microphone or seen.loudspeaker or seen.volume < LEAST_VOLUME
        return self._state.link is Link.DOWN and not broken

    def _end(self) -> None:
        self.running = False
        self._state.after("check", AGAIN_S)  # unless `found` says otherwise
        if self._first is not None:
            self._state.orders.append(c.FindChirp(self._first, self._last))
