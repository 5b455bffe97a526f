"""The device put together: who performs what, and what a new worker in an old place is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from device_agent.config.schema import Activation, Agent, Audio, Panel, Server, Settings, Tools
from device_agent.config.secrets import Secrets
from device_agent.core import events as e
from device_agent.core.commands import Command, Connect, PlayClip, SetVolume
from device_agent.core.ending import Kind
from device_agent.core.indicator import Snapshot
from device_agent.device import Device
from device_agent.errors import ConfigError, UsageError
from device_agent.protocol import messages as m
from device_agent.runtime.worker import Worker
from device_agent.supervisor import Inbox, Signalled, Supervisor
from device_agent.system.notify import Notifier
from device_agent.system.state_file import StateFile

PATIENCE_S = 5.0


class Watcher:
    """Observes the core; a test waits for what it must see."""

    def __init__(self) -> None:
        self.events: list[e.Event] = []
        self.commands: list[Command] = []
        self.snapshot = Snapshot()
        self._changed = threading.Condition()

    def __call__(self, now: float, event: e.Event, commands: object, snapshot: Snapshot) -> None:
        with self._changed:
            self.events.append(event)
            self.commands.extend(commands)  # type: ignore[arg-type]
            self.snapshot = snapshot
            self._changed.notify_all()

    def await_(self, holds: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, PATIENCE_S), (self.snapshot, self.events[-5:])


class Stand(Worker):
    """Takes orders in place of a real driver, and fails when told."""

    def __init__(self, name: str, fail: Callable[[str, BaseException], None]) -> None:
        super().__init__(name, fail)
        self.orders: list[object] = []
        self.ordered = threading.Event()
        self.fail_now = threading.Event()

    def run(self) -> None:
        self.beat("waiting", due=False)
        self.fail_now.wait()
        if not self.stopping.is_set():
            raise OSError("the card is gone")

    def unblock(self) -> None:
        self.fail_now.set()

    def use(self, on: bool, *_: object) -> None:
        self.orders.append(on)
        self.ordered.set()

    def connect(self, order: Connect) -> None:
        self.orders.append(order)
        self.ordered.set()

    disconnect = send = send_frames = send_silence = connect  # type: ignore[assignment]

    def set_volume(self, volume: int) -> None:
        self.orders.append(volume)

    def play_clip(self, clip: PlayClip) -> None:
        self.orders.append(clip)

    def rouse(self) -> None:
        """Orders are looked at when they come."""


class Stage:
    """A device whose drivers stand in; `made` holds every worker by its place."""

    def __init__(self, settings: Settings, state: StateFile | None = None) -> None:
        self.watcher = Watcher()
        self.inbox = Inbox()
        self.supervisor = Supervisor(self.inbox, lambda _: None, Notifier({}), look_s=0.01)
        self.made: dict[str, list[Stand]] = {"capture": [], "playback": [], "link": []}
        makers = {name: lambda name=name: self._make(name) for name in self.made}
        self.device = Device(settings, Secrets(), self.supervisor, [self.watcher], makers=makers, state=state)

    def _make(self, name: str) -> Worker:
        self.made[name].append(Stand(name, self.supervisor.failed))
        return self.made[name][-1]

    def play(self, scene: Callable[[], None]) -> int:
        """Run the device while `scene` happens in another thread; the exit code."""
        errors: list[BaseException] = []

        def act() -> None:
            try:
                assert poll(lambda: all(self.made.values()))
                scene()
            except BaseException as error:
                errors.append(error)
            finally:
                self.inbox.put(Signalled(15))

        thread = threading.Thread(target=act, name="scene")
        thread.start()
        code = self.supervisor.run()
        thread.join()
        if errors:
            raise errors[0]
        return code


def settings(**sections: object) -> Settings:
    given = {"agent": Agent(id="a"), "server": Server(url="ws://127.0.0.1:1"), "audio": Audio(echo="off")}
    return Settings(**{**given, **sections})  # type: ignore[arg-type]


def test_a_new_capture_thread_opens_the_microphone_again() -> None:
    """The order that holds is given to the worker that takes a failed one's place."""
    stage = Stage(settings())

    def scene() -> None:
        first = stage.made["capture"][0]
        assert first.ordered.wait(PATIENCE_S)
        first.fail_now.set()
        assert poll(lambda: len(stage.made["capture"]) == 2)
        assert stage.made["capture"][1].ordered.wait(PATIENCE_S)
        assert stage.made["capture"][1].orders == [True]

    assert stage.play(scene) == 0


def test_a_failed_link_ends_its_connection_and_the_next_one_connects() -> None:
    """The core learns that the connection died with its worker, and the new one is told to connect again."""
    stage = Stage(settings(activation=Activation(("always-on",))))

    def scene() -> None:
        first = stage.made["link"][0]
        assert first.ordered.wait(PATIENCE_S)
        first.fail_now.set()
        stage.watcher.await_(lambda: any(isinstance(event, e.LinkEnded) for event in stage.watcher.events))
        ended = next(event for event in stage.watcher.events if isinstance(event, e.LinkEnded))
        assert (ended.conn, ended.end.kind) == (1, Kind.NETWORK)
        assert poll(lambda: Connect(2) in stage.made["link"][1].orders)

    assert stage.play(scene) == 0


def test_a_tool_call_without_tools_is_answered() -> None:
    """An agent that calls a tool on a device without any hears so, as an error."""
    stage = Stage(settings())

    def scene() -> None:
        assert stage.made["link"][0].ordered.wait(PATIENCE_S)
        stage.device.post(e.LinkOpened(1))
        stage.device.post(e.ServerSaid(1, m.Metadata("conv_1", "pcm_16000", "pcm_16000")))
        stage.device.post(e.ServerSaid(1, m.ClientToolCall("lamp", "call_1", {}, True)))
        stage.watcher.await_(lambda: any(isinstance(event, e.ToolDone) for event in stage.watcher.events))
        done = next(event for event in stage.watcher.events if isinstance(event, e.ToolDone))
        assert (done.tool_call_id, done.is_error) == ("call_1", True)
        assert "'lamp'" in done.result

    assert stage.play(scene) == 0


def test_the_status_names_what_is_wrong() -> None:
    """systemd's line is the light's word, and the reason where there is one."""
    stage = Stage(settings())

    def scene() -> None:
        stage.device.post(e.DeviceDown("microphone", "no microphone: plug one in"))
        stage.watcher.await_(lambda: bool(stage.watcher.snapshot.microphone))
        assert poll(lambda: stage.supervisor.status() == "no-microphone: no microphone: plug one in")

    assert stage.play(scene) == 0


def test_the_status_names_what_the_self_check_has_found() -> None:
    """Its light shines, too, though all streams run."""
    stage = Stage(settings())

    def scene() -> None:
        stage.device.post(e.ChirpSearched(heard=False, silent=True))
        assert poll(lambda: stage.supervisor.status().startswith("no-microphone: microphone hears nothing"))

    assert stage.play(scene) == 0


def test_a_volume_that_a_person_set_is_there_after_a_restart(tmp_path: Path) -> None:
    """What was kept is set at the start, and again for a new playback thread; a change is written at the latest by
    the stop; the configured first volume alone is not."""
    file = tmp_path / "state.json"
    state = StateFile(file)
    stage = Stage(settings(), state)

    def scene() -> None:
        stage.watcher.await_(lambda: SetVolume(100) in stage.watcher.commands)
        assert state.kept.volume is None
        stage.device.post(e.Volume(-30))
        stage.watcher.await_(lambda: SetVolume(70) in stage.watcher.commands)
        stage.made["playback"][0].fail_now.set()
        assert poll(lambda: len(stage.made["playback"]) == 2 and 70 in stage.made["playback"][1].orders)

    assert stage.play(scene) == 0
    again = Stage(settings(), StateFile(file))
    assert again.play(lambda: again.watcher.await_(lambda: SetVolume(70) in again.watcher.commands)) == 0


def test_a_sound_that_is_ordered_before_playback_has_started_is_played_once() -> None:
    """Not again by a playback thread that takes its place."""
    stage = Stage(settings(activation=Activation(("toggle",)), panel=Panel(button_pin=17, backend="none")))
    stage.device.post(e.Mute(True))

    def scene() -> None:
        first = stage.made["playback"][0]
        assert poll(lambda: any(isinstance(order, PlayClip) for order in first.orders))
        first.fail_now.set()
        assert poll(lambda: len(stage.made["playback"]) == 2 and bool(stage.made["playback"][1].orders))
        assert not any(isinstance(order, PlayClip) for order in stage.made["playback"][1].orders)

    assert stage.play(scene) == 0


def test_a_wrong_configuration_is_told_and_nothing_else() -> None:
    """Each connection ends at once; state, systemd's line and the sound say what it is."""
    inbox = Inbox()
    supervisor = Supervisor(inbox, lambda _: None, Notifier({}), look_s=0.01)
    watcher = Watcher()
    stands = {name: Stand(name, supervisor.failed) for name in ("capture", "playback")}
    makers = {name: lambda stand=stand: stand for name, stand in stands.items()}
    device = Device(Settings(), Secrets(), supervisor, [watcher], makers=makers, mistakes="c.toml:2: unknown")  # type: ignore[arg-type]

    def scene() -> None:
        watcher.await_(lambda: any(isinstance(order, PlayClip) for order in watcher.commands))
        inbox.put(Signalled(15))

    thread = threading.Thread(target=scene, name="scene")
    thread.start()
    assert supervisor.run() == 0
    thread.join()
    ended = next(event for event in watcher.events if isinstance(event, e.LinkEnded))
    assert (ended.end.kind, ended.end.reason) == (Kind.CONFIG, "c.toml:2: unknown")
    assert next(order for order in watcher.commands if isinstance(order, PlayClip)).speech == "configuration"
    assert (device.status()["state"], supervisor.status()) == ("config-error", "config-error: c.toml:2: unknown")


def test_an_unwritable_recording_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """One line with the file and the remedy (exit code 64)."""
    file = tmp_path / "nowhere" / "wire.jsonl"
    supervisor = Supervisor(Inbox(), lambda _: None, Notifier({}))
    with pytest.raises(UsageError, match=f"{file} cannot be written .* choose another place"):
        Device(settings(), Secrets(), supervisor, record_wire=file)


def test_a_missing_tools_file_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """One line with the file (exit code 78)."""
    file = str(tmp_path / "tools.py")
    with pytest.raises(ConfigError, match=r"tools\.py"):
        Device(settings(tools=Tools(files=(file,))), Secrets(), Supervisor(Inbox(), lambda _: None, Notifier({})))


def poll(holds: Callable[[], bool]) -> bool:
    """Whether `holds` becomes true in time."""
    pause = threading.Event()
    for _ in range(500):
        if holds():
            return True
        pause.wait(0.01)
    return False
