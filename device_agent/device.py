"""The whole device, put together: who owns what, and who performs which order.

Drivers are imported where they are built, so that the microphone is being opened while the network code loads.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from device_agent.config.reload import Reload
from device_agent.config.schema import Settings
from device_agent.config.secrets import Secrets
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.ending import End, Kind
from device_agent.core.indicator import Snapshot
from device_agent.core.tables import Link
from device_agent.dispatcher import Dispatcher, Observer
from device_agent.errors import UsageError
from device_agent.flight import FlightRecorder
from device_agent.runtime.latch import MuteLatch
from device_agent.runtime.mailbox import Mailbox
from device_agent.runtime.ring import CaptureRing, PlaybackRing
from device_agent.runtime.worker import Worker
from device_agent.supervisor import EXIT_AGAIN, Supervisor
from device_agent.system.state_file import StateFile, Usage
from device_agent.system.wall_clock import WallClock

if TYPE_CHECKING:
    from device_agent.audio.tape import Tape
    from device_agent.control.server import Control
    from device_agent.link.record import Recorder
    from device_agent.panel.panel import Panel
    from device_agent.tools.runner import ToolRunner

T = TypeVar("T")
GOODBYE_S = 0.2  # for the close frame and its answer
TOOLS_S = 0.2
CONFIG_ERROR = "config-error"
STATE_S = 1.0  # for what has not been written yet; only a slow memory card needs any of it


class Device:
    """Adds all workers to `supervisor`. `makers` build workers in place of the real ones, by name (for tests).

    The flight recorder dumps into the directory `flight`. With `mistakes` (of the configuration) the device only shows
    and says them.

    Raises `ConfigError` for client tools that cannot be loaded, `UsageError` for a recording that cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        supervisor: Supervisor,
        observers: Sequence[Observer] = (),
        record_wire: Path | None = None,
        record_played: Path | None = None,
        makers: Mapping[str, Callable[[], Worker]] | None = None,
        state: StateFile | None = None,
        flight: Path | None = None,
        control: Path | None = None,
        mistakes: str = "",
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._supervisor = supervisor
        self.state = state or StateFile(None)
        """What outlives a restart. Only the dispatcher changes it."""
        self._recorder = _recorder(record_wire) if record_wire else None
        self._tape = _tape(record_played) if record_played else None
        self._mailbox = Mailbox()
        self.post = self._mailbox.post
        """Tell the core a fact; any thread."""
        self._makers = makers or {}
        self._capture_ring, self._playback_ring = CaptureRing(), PlaybackRing()
        # Muted until the switch was read, and if a person had muted it before the restart.
        self._latch = MuteLatch(closed=settings.panel.mute_pin >= 0 or self.state.kept.muted)
        self._tools = self._load_tools()
        self._orders: dict[type, c.Command] = {}
        self._repeat: dict[type, Callable[[Any], None]] = {}
        self._performers = self._who_performs()
        self.snapshot = Snapshot()  # what the core has shown last
        self._began = time.monotonic()
        self.reload: Reload | None = None  # reads the configuration again, for the control socket
        self._mistakes = self.problems = mistakes
        """What is wrong with the configuration, where the device runs on its last good one, or on none."""
        self._conn = 0
        self._offline = threading.Event()  # set by the dispatcher, waited for by the stop
        self._offline.set()
        self.flight = FlightRecorder(settings, random.Random().random, flight)
        supervisor.on_fault = self.flight.dump
        self._listener: Control | None = None
        self._light: Panel | None = None
        self._add_workers((*observers, self._observe, self._tell_listeners))
        if control is not None:
            supervisor.add("control", lambda: self._control(control))
        supervisor.goodbye = self._goodbye
        supervisor.status = self._status
        supervisor.healthy = lambda: self._mailbox.overflow == 0
        if self.state.kept.muted:
            self._mailbox.post(e.Mute(True))
        if settings.panel.mute_pin >= 0:
            self._mailbox.post(e.MuteSwitch(True))
        used = self.state.kept.usage
        self._mailbox.post(e.Restored(self.state.kept.volume, used.day, used.day_s, used.month, used.month_s))
        supervisor.look = WallClock(self._mailbox.post).look
        supervisor.look()  # before the start: it may be outside the opening hours
        self._mailbox.post(e.Start())

    def _add_workers(self, observers: Sequence[Observer]) -> None:
        add, settings = self._supervisor.add, self._settings
        from device_agent.audio.devices import Devices

        devices, other = Devices(settings.audio), self._makers.get
        if not self._makers:
            # PortAudio takes as long to start as all that follows here takes to load. Not a daemon: a process that
            # ends at once must not leave while it is inside.
            threading.Thread(target=devices.prepare, name="portaudio-start").start()
        add("capture", other("capture", lambda: self._capture(devices)), lambda: self._again(c.UseMicrophone))
        add("link", other("link", self._link), self._link_replaced)
        # The dispatcher comes third: microphone and connection are being opened while the rest loads.
        self._supervisor.add_irreplaceable(self._dispatcher(observers))
        add("playback", other("playback", lambda: self._playback(devices)), self._playback_again)
        if settings.panel.backend != "none":
            from device_agent.panel.pins import choose_backend

            if choose_backend(settings.panel, lights=settings.lights) != "none":
                add("panel", self._panel, lambda: self._again(c.Show))
                self._performers[c.Show] = self._standing(c.Show, "panel", lambda panel, order: panel.show(order))

    def _control(self, path: Path) -> Worker:
        from device_agent.control.server import Control, Facts

        facts = Facts(self.post, lambda: self.snapshot, self.status, self._settings.control.captions, self.reload)
        if self._listener is not None:
            self._listener.abandon()  # it hangs: else its socket would be taken for another device's
        self._listener = Control(path, facts, self._supervisor.failed)
        return self._listener

    def _tell_listeners(self, now: float, event: e.Event, commands: Sequence[c.Command], snapshot: Snapshot) -> None:
        if self._listener is not None:
            self._listener.observe(now, event, commands, snapshot)
        if self._light is not None:
            self._light.watch(now, event, commands, snapshot)

    def _dispatcher(self, observers: Sequence[Observer]) -> Dispatcher:
        conversation = self.flight.conversation()
        watching: tuple[Observer, ...] = (*observers, self.flight)
        failed = self._supervisor.failed
        return Dispatcher(conversation, self._mailbox, self._performers, watching, failed, on_rest=self._rouse)

    def _rouse(self) -> None:
        if self._conn:  # before the first connection the link may not even have been made
            self._worker("link").rouse()

    def heard(self, seq: int) -> bytes | None:
        """The samples of a captured frame, for a recording on this device; None while muted, or if they are gone."""
        found = self._capture_ring.read(seq)
        return found.pcm if found is not None and self._latch.passes(found.generation) else None

    # ------------------------------------------------------------------------------- builders
    def _capture(self, devices: Any) -> Worker:
        from device_agent.audio import second_opinion, wake_word
        from device_agent.audio.capture import Capture
        from device_agent.audio.echo import EchoControl

        settings, post, failed = self._settings, self._mailbox.post, self._supervisor.failed
        echo = EchoControl(settings.audio.echo, devices.reference, lambda: devices.loudspeaker, post)
        words, second = wake_word.wanted(settings), second_opinion.wanted(settings)
        heard = (self._capture_ring, self._latch)
        return Capture(devices, settings.audio.period_ms, *heard, post, failed, echo=echo, words=words, second=second)

    def _playback(self, devices: Any) -> Worker:
        from device_agent.audio.clips import Shelf
        from device_agent.audio.mixer import SOFTWARE, Mixer
        from device_agent.audio.playback import Playback

        post, failed = self._mailbox.post, self._supervisor.failed
        mixer = Mixer(Shelf(), self._settings.sounds.level_db, lambda number: post(e.ClipEnded(number)))
        if self._settings.audio.mixer != SOFTWARE:
            mixer.use_card(self._settings.audio.mixer)
        sound = self._tape, mixer, devices.reference
        rests = self._settings.audio.period_ms > 20
        playback = Playback(devices, self._playback_ring, post, failed, time.monotonic, *sound, rests=rests)
        playback.language = self._settings.sounds.language or self._settings.agent.language
        return playback

    def _playback_again(self) -> None:
        self._again(c.SetVolume)
        self._again(c.UseLoudspeaker)
        self._give_clip()

    def _link(self) -> Worker:
        from device_agent.link.worker import Link as LinkWorker

        rings = self._capture_ring, self._playback_ring
        who = self._settings, self._secrets
        post, failed = self._mailbox.post, self._supervisor.failed
        return LinkWorker(*who, *rings, self._latch, post, failed, recorder=self._recorder, wrong=self._mistakes)

    def _panel(self) -> Worker:
        from device_agent.panel.panel import Panel

        settings, post, failed = self._settings, self._mailbox.post, self._supervisor.failed
        lights = settings.lights, lambda: getattr(self._supervisor.find("playback"), "level_db", -100.0)
        self._light = Panel(settings.panel, post, self._latch, failed, *lights)
        return self._light

    def _load_tools(self) -> ToolRunner | None:
        if not self._settings.tools.files:
            return None
        from device_agent.tools.registry import load_files
        from device_agent.tools.runner import ToolRunner

        return ToolRunner(load_files(self._settings.tools.files), self._settings.tools, self._mailbox.post)

    # ------------------------------------------------------------------------------- performers
    def _who_performs(self) -> dict[type, Callable[[Any], None]]:
        """Who performs what. Workers are looked up at the call, because they may be replaced."""
        return {
            c.Connect: self._connect,
            c.Disconnect: lambda order: self._worker("link").disconnect(order),
            c.Send: lambda order: self._worker("link").send(order),
            c.SendFrames: lambda order: self._worker("link").send_frames(order),
            c.SendSilence: lambda order: self._worker("link").send_silence(order),
            c.UseMicrophone: self._standing(
                c.UseMicrophone, "capture", lambda worker, use: worker.use(use.on, use.live, use.wake, use.raw)
            ),
            c.UseLoudspeaker: self._standing(c.UseLoudspeaker, "playback", lambda worker, order: worker.use(order.on)),
            c.WipeCapture: lambda _: self._capture_ring.wipe(),
            c.Play: lambda order: self._playback_ring.play(order.handle),
            c.Discard: lambda order: self._playback_ring.discard(order.handle),
            c.Flush: lambda _: self._playback_ring.flush(),
            c.Duck: lambda order: self._worker("playback").duck(order.on),
            c.SetVolume: self._standing(c.SetVolume, "playback", lambda worker, set: worker.set_volume(set.volume)),
            c.PlayClip: self._play_clip,
            c.FindChirp: self._find_chirp,
            c.SetMute: self._mute,
            c.Show: lambda _: None,
            c.RunTool: self._run_tool,
            c.KeepUsage: lambda used: self.state.change(usage=Usage(used.day, used.day_s, used.month, used.month_s)),
            c.Restart: lambda _: self._supervisor.leave(EXIT_AGAIN),
            c.PowerOff: self._power_off,
        }

    def _worker(self, name: str) -> Any:
        return self._supervisor.worker(name)

    def _standing(self, kind: type, name: str, perform: Callable[[Any, Any], None]) -> Callable[[Any], None]:
        """An order that holds until the next of its kind: a worker that starts, or is replaced, gets it again."""

        def repeat(order: c.Command) -> None:
            worker = self._supervisor.find(name)
            if worker is not None:  # it will get the order when it starts
                perform(worker, order)

        def remember(order: c.Command) -> None:
            self._orders[kind] = order  # before it is performed: see `_again`
            repeat(order)

        self._repeat[kind] = repeat
        return remember

    def _again(self, kind: type) -> None:
        """Give a new worker the order that holds (main thread).

        The dispatcher may perform the next one meanwhile: then that one is repeated too, so that the last one wins.
        """
        order = None
        while order is not self._orders.get(kind):
            order = self._orders[kind]
            self._repeat[kind](order)

    def _connect(self, order: c.Connect) -> None:
        self._conn = order.conn
        self._offline.clear()
        self._worker("link").connect(order)

    def _link_replaced(self) -> None:
        """The connection, or the order for one, died with the worker (main thread).

        An order that the new worker has got in this very moment is taken back, so that none is open unknown to the
        core. First the fact, then the order: what the new worker says to it comes later and is too late to count.
        """
        conn = self._conn
        if not conn:
            return  # this is the first link
        self._mailbox.post(e.LinkEnded(conn, End(Kind.NETWORK, reason="the link worker was replaced")))
        self._worker("link").disconnect(c.Disconnect(conn))

    def _mute(self, order: c.SetMute) -> None:
        if order.muted:
            self._latch.close()
        elif self._settings.panel.mute_pin >= 0:
            self._worker("panel").open_latch()  # which knows what the switch says
        else:
            self._latch.open()

    def _power_off(self, _: c.PowerOff) -> None:
        from device_agent.system.power import power_off

        power_off()

    def _play_clip(self, order: c.PlayClip) -> None:
        self._orders[c.PlayClip] = order
        if self._supervisor.find("playback") is not None:  # else it is given when playback starts
            self._give_clip()

    def _give_clip(self) -> None:
        if order := self._orders.pop(c.PlayClip, None):
            self._worker("playback").play_clip(order)

    def _find_chirp(self, order: c.FindChirp) -> None:
        """In a thread of its own: on a small computer it takes longer than the dispatcher has."""
        from device_agent.audio.chirp import searched

        def search() -> None:
            frames = (self.heard(seq) for seq in range(order.first, order.last + 1))
            self.post(searched([pcm for pcm in frames if pcm]))

        threading.Thread(target=search, name="chirp", daemon=True).start()

    def _run_tool(self, order: c.RunTool) -> None:
        if self._tools is None:
            text = f"There is no tool named {order.name[:64]!r} on this device."
            self._mailbox.post(e.ToolDone(order.conn, order.tool_call_id, text, True, "external_client"))
        else:
            self._tools.run(order)

    # ------------------------------------------------------------------------------- supervision
    def _observe(self, now: float, event: e.Event, commands: object, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        if isinstance(event, e.Volume):
            self.state.change(volume=snapshot.volume)
        if snapshot.muted_by_person != self.state.kept.muted:
            self.state.change(muted=snapshot.muted_by_person)
        if snapshot.link in (Link.DOWN, Link.BACKOFF):
            self._offline.set()

    def _goodbye(self) -> None:
        """Close the conversation, if there is one, and wait a moment for the server's answer."""
        from device_agent.runtime.deadline import Deadline

        self._mailbox.post(e.Stop())
        self._offline.wait(GOODBYE_S)
        self.state.close(Deadline(STATE_S))
        if self._tools is not None:
            self._tools.close(Deadline(TOOLS_S))

    def status(self) -> dict[str, Any]:
        """What a person, or another program, may know of the device; any thread."""
        from dataclasses import asdict

        from device_agent.system.identity import device_id
        from device_agent.version import __version__

        now = self.snapshot
        return {
            "state": self._state,
            **asdict(now) | {"link": now.link.value, "turn": now.turn.value},
            "configuration": self.problems,
            "version": __version__,
            "device_id": device_id(),
            "uptime_s": round(time.monotonic() - self._began),
        }

    @property
    def _state(self) -> str:
        return CONFIG_ERROR if self._mistakes else self.snapshot.indicator.value

    def _status(self) -> str:
        wrong = self._mistakes or self.snapshot.wrong
        return f"{self._state}{': ' + wrong if wrong else ''}"


def _recorder(file: Path) -> Recorder:
    from device_agent.link.record import Recorder

    return _opened(file, Recorder)


def _tape(file: Path) -> Tape:
    from device_agent.audio.tape import Tape

    return _opened(file, Tape)


def _opened(file: Path, kind: Callable[[Path], T]) -> T:
    try:
        return kind(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}): choose another place") from error
