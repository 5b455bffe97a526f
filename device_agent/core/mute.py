"""Mute: what the switch says and what a person wishes by button or socket; each of them alone mutes."""

from __future__ import annotations

from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.microphone import Microphone
from device_agent.core.state import State


class Mute:
    """Muted means: the latch is closed and all that was heard is forgotten, at once."""

    def __init__(self, state: State, microphone: Microphone) -> None:
        self._state = state
        self._microphone = microphone
        self._switch = self._wish = False

    def switched(self, switch: e.MuteSwitch) -> None:
        """The hardware switch."""
        self._switch = switch.muted
        self._apply()

    def wished(self, wish: e.Mute) -> None:
        """A person's wish; without a value the other way round."""
        self._wish = not self._wish if wish.muted is None else wish.muted
        self._apply()

    def _apply(self) -> None:
        muted = self._switch or self._wish
        self._state.change(muted=muted, muted_by_person=self._wish)
        self._state.orders.append(c.SetMute(muted))
        if muted:
            self._state.orders.append(c.WipeCapture())
            self._microphone.mute()
