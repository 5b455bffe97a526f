"""What can happen: the facts that drivers post to the mailbox, and nothing else.

Times `t` are seconds of the monotonic clock. Audio itself is never here: it stays in the two rings and is
named by sequence number (capture) or handle (playback). `conn` numbers the connections from 1, so that a fact
about an earlier one is recognised and ignored.
"""

from __future__ import annotations

from device_agent.core.ending import End
from device_agent.protocol.messages import ServerMessage
from device_agent.records import record


# ------------------------------------------------------------------------------------------- audio
@record
class Frame:
    """20 ms from the microphone lie in the capture ring under `seq` (which grows by one each time).

    `speech` is the detector's raw opinion, `level` is in dBFS (−100 … 0), `t` the time of the last sample. The next
    frames are read some `next_s` after this one was.
    """

    seq: int
    speech: bool
    level: float
    t: float
    next_s: float = 0.02


@record
class DeviceUp:
    """`device` (microphone or loudspeaker) delivers or takes samples, under the card's own `name` and `rate`.

    `note` is what a person should know of the choice: a first choice that is missing, a camera's microphone.
    """

    device: str
    name: str
    rate: int
    channels: int = 1
    note: str = ""

    @property
    def card(self) -> str:
        """What was chosen, for a person."""
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}, {self.rate} Hz, {self.channels} channel{'s' * (self.channels > 1)}{note}"


@record
class Echo:
    """How the agent's own voice is kept from it now: off, external, aec, speex or half-duplex.

    `loss_db` is the echo return loss last measured (None: not yet), `failing` says that the canceller achieves too
    little, and that half-duplex stands in for it until it does.
    """

    means: str
    loss_db: float | None = None
    failing: bool = False


@record
class DeviceDown:
    """`device` was lost or will not open; its driver goes on trying. `reason` names thing and remedy."""

    device: str
    reason: str


@record
class PlaybackStarted:
    """The first sample of reply `event_id` becomes audible at `t`."""

    event_id: int | None
    t: float


@record
class Played:
    """So much of reply `event_id` has been heard. `complete`: nothing of it was flushed."""

    event_id: int | None
    ms: float
    complete: bool


@record
class PlaybackIdle:
    """The last sample in hand has become inaudible: everything was played or flushed."""

    t: float


@record
class ClipEnded:
    """The last sample of clip `number` was handed to the loudspeaker, or the clip was given up."""

    number: int


@record
class ChirpSearched:
    """Whether the chirp was in what `FindChirp` named; `silent`: there was nothing at all, not even noise."""

    heard: bool
    silent: bool


@record
class Volume:
    """A person sets the volume: to `level` (0 … 100) if there is one, else by `change` points."""

    change: int = 0
    level: int | None = None


@record
class Restored:
    """What was kept from the last run: the volume, None before anybody has set it; the time connected: `KeepUsage`."""

    volume: int | None = None
    day: str = ""
    day_s: float = 0.0
    month: str = ""
    month_s: float = 0.0


@record
class SoundsWanted:
    """The configuration was read again: which of its own sounds the device shall make, and in which language."""

    earcons: bool
    speech: bool
    language: str = ""


# ------------------------------------------------------------------------------------------- panel
@record
class Edge:
    """A raw, undebounced edge of a button."""

    button: str
    pressed: bool
    t: float


@record
class MuteSwitch:
    """What the hardware switch says; unreadable counts as muted."""

    muted: bool


@record
class Mute:
    """A person mutes or unmutes by button or socket; None: the other way round."""

    muted: bool | None = None


@record
class Presence:
    """What the presence sensor says."""

    present: bool


@record
class Remote:
    """The control socket or a screen wants an action, named as for a button (`config.buttons.ACTIONS`)."""

    action: str


@record
class WakeWord:
    """`word` was heard; it ended with frame `seq`."""

    word: str
    seq: int


@record
class PanelDown:
    """Configured pins cannot be used; the driver goes on trying."""

    reason: str


@record
class PanelUp:
    """The configured pins work."""


# -------------------------------------------------------------------------------------------- link
@record
class LinkOpened:
    """The WebSocket is open; nothing has been sent on it yet."""

    conn: int


@record
class NetworkUp:
    """This machine has got an address: what was unreachable may be reached now."""


@record
class LinkEnded:
    """Connection `conn`, or the attempt at it, is over."""

    conn: int
    end: End


@record
class ServerSaid:
    """A decoded message (pings are already answered). Never `Audio` with sound: see `AgentAudio`."""

    conn: int
    message: ServerMessage


@record
class AgentAudio:
    """`ms` of agent audio lie in the playback ring under `handle`, held until `Play` or `Discard`."""

    conn: int
    handle: int
    event_id: int | None
    ms: float
    is_final: bool


@record
class WireSkipped:
    """A message was thrown away for `reason`, whose wire type was `type` where it had one."""

    conn: int
    reason: str
    type: str = ""


@record
class UplinkDropped:
    """`frames` microphone frames were given up because the network did not take them in time."""

    conn: int
    frames: int


# ------------------------------------------------------------------------------------------- others
@record
class ToolDone:
    """The outcome of `RunTool`; `result` is text."""

    conn: int
    tool_call_id: str
    result: str
    is_error: bool = False
    error_type: str = ""


@record
class Calendar:
    """Wall time: `local` is YYYY-MM-DDTHH:MM:SS, `offset_s` east of UTC. Comes once a minute and when it is changed.

    `synchronised`: some time service vouches for it; otherwise it may be the hour of the last shutdown, or 1970.
    """

    local: str
    offset_s: int
    synchronised: bool


@record
class Start:
    """The device is up: activation modes that need no person may begin."""


@record
class Stop:
    """The process is about to end: close what is open, start nothing."""


@record
class Tick:
    """A deadline that the core asked for has come."""


Event = (
    Frame | DeviceUp | DeviceDown | Echo | PlaybackStarted | Played | PlaybackIdle | ClipEnded
    | ChirpSearched | Volume | Restored | SoundsWanted | Edge | MuteSwitch | Mute | Presence | Remote | WakeWord
    | PanelDown | PanelUp
    | LinkOpened | NetworkUp | LinkEnded | ServerSaid | AgentAudio | WireSkipped | UplinkDropped
    | ToolDone | Calendar | Start | Stop | Tick
)  # fmt: skip
