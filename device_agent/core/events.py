"""What can happen: the facts that drivers post to the mailbox, and nothing else.

Times `t` are seconds of the monotonic clock. Audio itself is never here: it stays in the two rings and is
named by sequence number (capture) or handle (playback). `conn` numbers the connections from 1, so that a fact
about an earlier one is recognised and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_agent.core.ending import End
from device_agent.protocol.messages import ServerMessage


# ------------------------------------------------------------------------------------------- audio
@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms from the microphone lie in the capture ring under `seq` (which grows by one each time).

    `speech` is the detector's raw opinion, `level` is in dBFS (−100 … 0), `t` the time of the last sample.
    """

    seq: int
    speech: bool
    level: float
    t: float


@dataclass(frozen=True, slots=True)
class DeviceUp:
    """`device` (microphone or loudspeaker) delivers or takes samples, under the card's own `name` and `rate`."""

    device: str
    name: str
    rate: int
    half_duplex: bool = False  # what audio.echo = "auto" means for this card


@dataclass(frozen=True, slots=True)
class DeviceDown:
    """`device` was lost or will not open; its driver goes on trying. `reason` names thing and remedy."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """The first sample of reply `event_id` becomes audible at `t`."""

    event_id: int | None
    t: float


@dataclass(frozen=True, slots=True)
class Played:
    """So much of reply `event_id` has been heard. `complete`: nothing of it was flushed."""

    event_id: int | None
    ms: float
    complete: bool


@dataclass(frozen=True, slots=True)
class PlaybackIdle:
    """The last sample in hand has become inaudible: everything was played or flushed."""

    t: float


# ------------------------------------------------------------------------------------------- panel
@dataclass(frozen=True, slots=True)
class Edge:
    """A raw, undebounced edge of a button."""

    button: str
    pressed: bool
    t: float


@dataclass(frozen=True, slots=True)
class MuteSwitch:
    """What the hardware switch says; unreadable counts as muted."""

    muted: bool


@dataclass(frozen=True, slots=True)
class PanelDown:
    """Configured pins cannot be used; the driver goes on trying."""

    reason: str


@dataclass(frozen=True, slots=True)
class PanelUp:
    """The configured pins work."""


# -------------------------------------------------------------------------------------------- link
@dataclass(frozen=True, slots=True)
class LinkOpened:
    """The WebSocket is open; nothing has been sent on it yet."""

    conn: int


@dataclass(frozen=True, slots=True)
class LinkEnded:
    """Connection `conn`, or the attempt at it, is over."""

    conn: int
    end: End


@dataclass(frozen=True, slots=True)
class ServerSaid:
    """A decoded message (pings are already answered). Never `Audio` with sound: see `AgentAudio`."""

    conn: int
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class AgentAudio:
    """`ms` of agent audio lie in the playback ring under `handle`, held until `Play` or `Discard`."""

    conn: int
    handle: int
    event_id: int | None
    ms: float
    is_final: bool


@dataclass(frozen=True, slots=True)
class WireSkipped:
    """A message was thrown away for `reason`, whose wire type was `type` where it had one."""

    conn: int
    reason: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class UplinkDropped:
    """`frames` microphone frames were given up because the network did not take them in time."""

    conn: int
    frames: int


# ------------------------------------------------------------------------------------------- others
@dataclass(frozen=True, slots=True)
class ToolDone:
    """The outcome of `RunTool`; `result` is text."""

    conn: int
    tool_call_id: str
    result: str
    is_error: bool = False
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """The device is up: activation modes that need no person may begin."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The process is about to end: close what is open, start nothing."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline that the core asked for has come."""


Event = (
    Frame | DeviceUp | DeviceDown | PlaybackStarted | Played | PlaybackIdle | Edge | MuteSwitch | PanelDown | PanelUp
    | LinkOpened | LinkEnded | ServerSaid | AgentAudio | WireSkipped | UplinkDropped | ToolDone | Start | Stop | Tick
)  # fmt: skip
