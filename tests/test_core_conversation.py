"""The whole conversation: what holds whatever happens, the corners that no story tells, and the replay."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario import Stage, configured

from device_agent.config.schema import Settings
from device_agent.core import commands as c
from device_agent.core import events as e
from device_agent.core.calls import APPROVALS, CALLS
from device_agent.core.conversation import Conversation
from device_agent.core.ending import End, Kind
from device_agent.core.replay import Recorder, replay
from device_agent.core.tables import Link
from device_agent.protocol import messages as m

IDS = st.one_of(st.none(), st.integers(0, 5))
CONNS = st.integers(0, 2)  # how long ago: 0 is the current one
MESSAGES = st.one_of(
    st.just(m.Metadata("c", "pcm_16000", "pcm_16000")),
    st.builds(m.QueueStatus, st.sampled_from(["waiting", "admitted", "other"])),
    st.builds(m.Interruption, IDS),
    st.builds(m.AgentResponseComplete, IDS),
    st.builds(m.UserTranscript, st.just("Hello")),
    st.builds(m.ServerError, message=st.sampled_from(["", "quota_exceeded"])),
    st.builds(m.ClientToolCall, st.just("t"), st.sampled_from("ab"), st.just({}), expects_response=st.booleans()),
    st.builds(m.AgentToolResponse, st.just("end_call"), st.just("e"), is_called=st.booleans()),
    st.builds(m.McpToolCall, st.just("s"), st.sampled_from("ab"), st.just("t"),
              st.sampled_from(["awaiting_approval", "success"]), st.floats(-1, 300)),
    st.just(m.VadScore(0.5)),
)  # fmt: skip
ENDS = st.builds(
    End,
    st.sampled_from(list(Kind)),
    st.sampled_from([0, 9, 401, 503, 1000, 1002, 1008, 1011]),
    st.sampled_from(["", "quota", "override"]),
    st.one_of(st.none(), st.floats(0, 100)),
)
FACTS = st.one_of(
    st.tuples(st.just(e.Start)),
    st.tuples(st.just(e.Tick)),
    st.tuples(st.just(e.Frame), st.booleans(), st.floats(0, 0.2)),
    st.tuples(st.just(e.Edge), st.booleans(), st.floats(0, 0.2)),
    st.tuples(st.just(e.MuteSwitch), st.booleans()),
    st.tuples(st.just(e.Presence), st.booleans()),
    st.tuples(st.just(e.WakeWord), st.just("computer"), st.integers(-1, 60)),
    st.tuples(st.just(e.Remote), st.sampled_from(["talk", "end", "stop", "mute", "say:Hello", "language_next"])),
    st.tuples(
        st.just(e.Calendar),
        st.sampled_from(["2026-11-27T12:00:00", "2026-11-28T20:00:00"]),
        st.just(3600),
        st.booleans(),
    ),
    st.tuples(st.just(e.DeviceUp), st.sampled_from(["microphone", "loudspeaker"])),
    st.tuples(st.just(e.Echo), st.sampled_from(["off", "external", "aec", "speex", "half-duplex"])),
    st.tuples(st.just(e.DeviceDown), st.sampled_from(["microphone", "loudspeaker"])),
    st.tuples(st.just(e.LinkOpened), CONNS),
    st.tuples(st.just(e.LinkEnded), CONNS, ENDS),
    st.tuples(st.just(e.ServerSaid), CONNS, MESSAGES),
    st.tuples(st.just(e.AgentAudio), CONNS, IDS, st.sampled_from([0.0, 20.0, 5000.0]), st.booleans()),
    st.tuples(st.just(e.PlaybackStarted), IDS),
    st.tuples(st.just(e.PlaybackIdle), st.floats(0, 0.2)),
    st.tuples(st.just(e.ClipEnded), st.integers(1, 5)),
    st.tuples(st.just(e.Volume), st.sampled_from([-10, 10])),
    st.tuples(st.just(e.ToolDone), CONNS, st.sampled_from("ab")),
    st.tuples(st.just(e.Stop)),
)
PAUSES = st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.5, 3.0, 61.0])
HAPPY = [(0.0, (e.Start,)), (0.1, (e.LinkOpened, 0)), (0.1, (e.ServerSaid, 0, m.Metadata("c", "x", "x")))]
WALKS = st.tuples(st.sampled_from([[], HAPPY]), st.lists(st.tuples(PAUSES, FACTS), max_size=60)).map(
    lambda t: t[0] + t[1]
)
MODES = st.sampled_from(
    [
        ("always-on",),
        ("toggle",),
        ("push-to-talk",),
        ("push-to-talk", "toggle"),
        ("toggle", "always-on"),
        ("voice", "one-shot"),
        ("wake-word", "presence"),
        ("remote",),
    ]
)
SETTINGS = st.builds(
    lambda modes, echo, uplink, speech, hours: configured(
        [
            ("activation.modes", ", ".join(modes)),
            ("audio.echo", echo),
            ("gate.uplink", uplink),
            ("sounds.speech", speech),
            ("session.hours", hours),
            ("session.daily_minutes", "1"),
            ("session.max_s", "60"),
            ("agent.languages", "{en = {}, de = {}}"),
        ]
    ),
    MODES,
    st.sampled_from(["auto", "half-duplex", "off"]),
    st.sampled_from(["open", "silence"]),
    st.sampled_from(["true", "false"]),
    st.sampled_from(["00:00-24:00", "08:00-18:00"]),
)


OFF: dict[type, c.Command] = {c.UseMicrophone: c.UseMicrophone(False), c.UseLoudspeaker: c.UseLoudspeaker(False)}


class Walker:
    """Feeds the core with facts at random, ticks when it asks, and watches what it orders."""

    def __init__(self, settings: Settings) -> None:
        self.core = Conversation(settings, lambda: 0.5)
        self.now = 0.0
        self.conn = self.handle_ = 0
        self.seq = -1
        self.links: set[Link] = set()
        self.deaf = False
        self.standing: dict[type, c.Command] = OFF.copy()
        self.decided: set[int] = set()
        self.sent = -1

    def step(self, pause: float, fact: tuple) -> None:
        until = self.now + pause
        for _ in range(200):  # a late dispatcher now and then: not every deadline is kept
            deadline = self.core.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = deadline
            self.give(e.Tick())
        self.now = until
        self.give(self.event(*fact))

    def event(self, kind: type, *args) -> e.Event:
        now = self.now
        if kind is e.Frame:
            self.seq += 1
            return e.Frame(self.seq, args[0], -20.0, now - args[1])
        if kind is e.Edge:
            return e.Edge("button", args[0], now - args[1])
        if kind is e.DeviceUp:
            return e.DeviceUp(args[0], "card", 48000)
        if kind is e.DeviceDown:
            return e.DeviceDown(args[0], "gone")
        if kind is e.AgentAudio:
            self.handle_ += 1
            return e.AgentAudio(self.conn - args[0], self.handle_, *args[1:])
        if kind in (e.LinkOpened, e.LinkEnded, e.ServerSaid):
            return kind(self.conn - args[0], *args[1:])
        if kind is e.PlaybackStarted:
            return e.PlaybackStarted(args[0], now)
        if kind is e.PlaybackIdle:
            return e.PlaybackIdle(now - args[0])
        if kind is e.ToolDone:
            return e.ToolDone(self.conn - args[0], args[1], "ok")
        return kind(*args)

    def give(self, event: e.Event) -> None:
        before = self.core.snapshot
        orders = self.core.handle(event, self.now)
        deadline = self.core.next_deadline()
        assert deadline is None or deadline >= self.now
        after = self.core.snapshot
        # A late dispatcher gives orders of several moments at once: each must be right at the first or the last.
        self.links = {before.link, after.link}
        self.deaf = (before.muted or before.queued) and (after.muted or after.queued)
        for order in orders:
            self.check(order, event)
        if isinstance(event, e.AgentAudio):
            assert event.handle in self.decided, "a chunk that is neither played nor thrown away stays for ever"

    def check(self, order: c.Command, event: e.Event) -> None:
        match order:
            case c.Connect(conn):
                assert conn == self.conn + 1
                self.conn = conn
                self.links = {self.core.snapshot.link}
            case c.Disconnect(conn):
                assert conn == self.conn
                self.links = {self.core.snapshot.link}
            case c.SetMute(muted):
                self.deaf = muted
            case c.SendFrames(conn, first, last):
                assert conn == self.conn
                assert Link.READY in self.links
                assert not self.deaf
                assert self.sent < first <= last <= self.seq, "out of order, twice or from the future"
                self.sent = last
            case c.SendSilence(conn, frames):
                assert conn == self.conn
                assert Link.READY in self.links
                assert 1 <= frames <= 4
            case c.Send(conn, message):
                assert conn == self.conn
                begun = {Link.INITIATING} if isinstance(message, m.Initiation) else {Link.INITIATING, Link.READY}
                assert self.links & begun
            case c.UseMicrophone() | c.UseLoudspeaker():
                assert order != self.standing[type(order)]
                self.standing[type(order)] = order
            case c.Play(handle) | c.Discard(handle):
                assert isinstance(event, e.AgentAudio)
                self.decided.add(handle)


@settings(deadline=None, max_examples=150)
@given(SETTINGS, WALKS)
def test_whatever_happens(config: Settings, walk: list) -> None:
    """Any sequence of facts: no exception, nothing sent that must not be, deadlines ahead, devices used in turn."""
    walker = Walker(config)
    for pause, fact in walk:
        walker.step(pause, fact)


@settings(deadline=None, max_examples=40)
@given(SETTINGS, WALKS)
def test_after_a_stop_everything_comes_to_rest(config: Settings, walk: list) -> None:
    """After a stop no connection is begun, and all is closed once the link and playback have answered."""
    walker = Walker(config)
    for pause, fact in walk:
        walker.step(pause, fact)
    walker.step(0.0, (e.Stop,))
    conn = walker.conn
    walker.step(0.01, (e.PlaybackIdle, 0.0))
    walker.step(3.0, (e.Edge, True, 0.0))
    walker.step(3.0, (e.Frame, True, 0.0))
    assert walker.conn == conn
    assert walker.core.snapshot.link is Link.DOWN
    assert walker.standing == OFF


@settings(deadline=None, max_examples=40)
@given(SETTINGS, WALKS)
def test_a_recorded_walk_replays(config: Settings, walk: list) -> None:
    """Any log gives the same orders at the same times again."""
    lines: list[str] = []
    recorder = Recorder(config, lambda: 0.25, lines.append)
    walker, given_orders = Walker(config), []
    walker.core = recorder.conversation

    def handle(event: e.Event, now: float) -> list[c.Command]:
        given_orders.append((now, event, recorder.handle(event, now)))
        return given_orders[-1][2]

    class Core:
        next_deadline = recorder.conversation.next_deadline
        snapshot = property(lambda _: recorder.conversation.snapshot)

    core = Core()
    core.handle = handle  # type: ignore[attr-defined]
    walker.core = core  # type: ignore[assignment]
    for pause, fact in walk:
        walker.step(pause, fact)
    assert list(replay(config, lines)) == given_orders


def test_replay_is_far_faster_than_life() -> None:
    """A minute of conversation, each frame of it, replays in well under a second (some 50 ms where it is quiet)."""
    lines: list[str] = []
    recorder = Recorder(Settings(), lambda: 0.5, lines.append)
    recorder.handle(e.Start(), 0.0)
    recorder.handle(e.LinkOpened(1), 0.1)
    recorder.handle(e.ServerSaid(1, m.Metadata("c", "pcm_16000", "pcm_16000")), 0.2)
    for n in range(3000):
        recorder.handle(e.Frame(n, n % 100 < 40, -20.0, 0.2 + n * 0.02), 0.2 + n * 0.02)
    took = []
    for _ in range(3):
        start = time.process_time()
        count = sum(1 for _ in replay(Settings(), lines))
        took.append(time.process_time() - start)
    assert count == 3003
    assert min(took) <= 0.6


def test_a_line_of_something_else_does_not_replay() -> None:
    """A log that names another class is refused."""
    line = json.dumps({"at": 0, "draws": [], "event": ["Popen", "x"]})
    with pytest.raises(ValueError, match="Popen"):
        list(replay(Settings(), [line]))


def test_nested_values_survive_the_log() -> None:
    """Lists and tuples inside a message come back as what they were."""
    event = e.ServerSaid(1, m.McpConnectionStatus(({"tools": [1, [2]]},)))
    call = e.ServerSaid(1, m.ClientToolCall("t", "c", {"a": [1, {"b": 2}]}))
    odd = e.ServerSaid(1, m.UserTranscript(["not", "text"]))  # type: ignore[arg-type]
    lines: list[str] = []
    recorder = Recorder(Settings(), lambda: 0.5, lines.append)
    for fact in (event, call, odd):
        recorder.handle(fact, 1.0)
    assert [fact for _, fact, _ in replay(Settings(), lines)] == [event, call, odd]


# ------------------------------------------------------------------------------- corners
def talking(*changes: tuple[str, str]) -> Stage:
    stage = Stage(configured([("audio.echo", "off"), *changes]))
    stage.do("in conversation")
    return stage


def orders(stage: Stage, kind: type) -> list[c.Command]:
    return [command for _, command in stage.done if isinstance(command, kind)]


def test_the_means_against_echo_are_those_that_the_microphones_side_has_chosen() -> None:
    """Until it has chosen, the microphone is closed while the agent speaks; what holds is shown."""
    stage = Stage(Settings())
    stage.do("in conversation")
    stage.do("audio 1 500 ms")
    stage.do("speech 100 ms")
    assert not orders(stage, c.SendFrames)
    stage.give(e.Echo("off"))
    stage.do("speech 100 ms")
    assert orders(stage, c.SendFrames)
    stage.give(e.Echo("half-duplex", 6.4, failing=True))
    assert stage.core.snapshot.echo == "half-duplex, 6 dB (the canceller achieves too little)"


def test_a_repeated_call_is_known_for_a_while_only() -> None:
    """The memory of tool calls is bounded."""
    stage = talking()
    for n in range(CALLS + 1):
        stage.said(m.ClientToolCall("t", f"c{n}", {}))
    stage.said(m.ClientToolCall("t", "c0", {}))
    stage.said(m.ClientToolCall("t", "c1000", {}))
    assert len(orders(stage, c.RunTool)) == CALLS + 2


def test_more_approvals_than_can_wait_are_refused_at_once() -> None:
    """The list of calls that wait for approval is bounded."""
    stage = talking()
    for n in range(APPROVALS + 1):
        stage.do(f"approval a{n} 300")
    assert orders(stage, c.Send) == [c.Send(1, m.McpToolApprovalResult(f"a{APPROVALS}", is_approved=False))]


def test_end_call_that_failed_ends_nothing() -> None:
    """An end_call tool that was not called, or failed, does not hang up; nor does another tool."""
    stage = talking()
    stage.said(m.AgentToolResponse("end_call", "e", is_called=False))
    stage.said(m.AgentToolResponse("end_call", "e", is_error=True))
    stage.said(m.AgentToolResponse("search", "e"))
    stage.until(5.0)
    assert not orders(stage, c.Disconnect)


def test_a_farewell_without_end_is_hung_up_on() -> None:
    """Half a minute after the agent hung up the conversation is closed, though it goes on speaking."""
    stage = talking()
    stage.do("audio 1 20000 ms")
    stage.do("audible 1")
    stage.do("end_call")
    stage.until(20.0)
    stage.do("audio 1 20000 ms")
    stage.until(29.0)
    assert not orders(stage, c.Disconnect)
    stage.until(31.0)
    assert orders(stage, c.Disconnect) == [c.Disconnect(1, reason="end_call")]


def test_nothing_closes_by_itself_where_idle_close_is_off() -> None:
    """session.idle_close_s = 0 keeps a conversation open."""
    stage = talking(("session.idle_close_s", "0"))
    stage.until(200.0)
    assert stage.core.snapshot.link is Link.READY


def test_a_long_word_is_not_idleness() -> None:
    """The idle time does not run out while somebody speaks or the agent can be heard."""
    stage = talking(("session.idle_close_s", "2"))
    stage.do("speech 5 s")
    stage.do("audio 1 5000 ms final")
    stage.do("audible 1")
    stage.until(9.9)
    assert stage.core.snapshot.link is Link.READY


def test_always_on_waits_for_the_network_for_ever() -> None:
    """Where always-on waits to try again, nobody's silence ends that."""
    stage = Stage(configured([("session.idle_close_s", "3"), ("activation.modes", "always-on")]), draws=[0.99])
    for fact in ("start", "lost network"):
        stage.do(fact)
    for _ in range(8):
        stage.until(stage.now + 65.0)
        assert stage.core.snapshot.link is Link.OPENING
        stage.do("lost network")
    assert stage.core.snapshot.link is Link.BACKOFF


def test_toggle_does_not_wait_longer_than_its_user() -> None:
    """A wait between two attempts is given up after the idle time where the user is gone."""
    stage = Stage(configured([("activation.modes", "toggle"), ("session.idle_close_s", "5")]), draws=[0.9])
    for fact in ("start", "press", "refused 503 x 20"):
        stage.do(fact)
    stage.until(60.0)
    assert stage.core.snapshot.link is Link.DOWN
    assert stage.conn == 1


def test_reply_without_sound_ends_at_once() -> None:
    """A reply that is only announced as over, without a sample, leaves the turn with the user."""
    stage = talking()
    stage.do('user says "Hi"')
    stage.do("audio 1 0 ms final")
    assert stage.core.snapshot.turn.value == "thinking"


def test_a_reply_that_was_flushed_before_it_was_known_to_sound_changes_no_light() -> None:
    """Playback's news of a reply may come after its flush: it is heard as echo and nothing more."""
    stage = talking()
    for fact in ("audio 1 5000 ms", "interruption 1", "audible 1"):
        stage.do(fact)
    assert stage.core.snapshot.turn.value == "listening"
    stage.do("silent")
    assert not orders(stage, c.UseLoudspeaker)


def test_replies_without_ids() -> None:
    """Audio without an id is played, also after an interruption."""
    stage = talking()
    for fact in ("audio - 500 ms", "audible -", "interruption 4", "silent", "audio - 500 ms final"):
        stage.do(fact)
    assert len(orders(stage, c.Play)) == 2


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_a_server_that_drops_us_at_once_is_not_hammered(draw: float) -> None:
    """Connections that open and die at once: at most 12 in 5 minutes, though somebody speaks all the time."""
    stage = Stage(configured([("audio.echo", "off")]), draws=[draw])
    stage.do("start")
    while stage.now < 300:
        if stage.core.snapshot.link is Link.OPENING:
            for fact in ("opened", "ready", "closed 1011"):
                stage.do(fact)
        stage.do("speech 200 ms")
        stage.do("quiet 1 s")
    assert stage.conn <= 12


def test_a_late_dispatcher_runs_only_what_is_still_due() -> None:
    """Of several timers that are due at once, one that an earlier one cancelled does not run."""
    stage = talking(("session.idle_close_s", "2"))
    stage.do('user says "Hi"')
    stage.now = 100.0
    stage.give(e.Tick())  # idle closes the conversation; the thinking that would have ended later went with it
    assert orders(stage, c.Disconnect) == [c.Disconnect(1, reason="idle")]
    assert [order.indicator for order in orders(stage, c.Show)] == [c.Indicator.THINKING, c.Indicator.IDLE]


def test_a_frame_that_was_on_its_way_opens_nothing() -> None:
    """Without always-on, speech that is heard of after the end of a conversation means nothing."""
    stage = talking(("activation.modes", "toggle"))
    stage.until(1.0)
    for fact in ("press", "closed locally", "speech 200 ms"):
        stage.do(fact)
    assert not orders(stage, c.Connect)


def test_a_second_metadata_changes_nothing() -> None:
    """The metadata comes once; what comes again is ignored."""
    stage = talking()
    stage.do("ready")
    assert stage.done == []


def test_chance_replays() -> None:
    """The numbers that chance gave are in the log: the same wait follows."""
    lines: list[str] = []
    recorder = Recorder(Settings(), lambda: 0.321, lines.append)
    recorder.handle(e.Start(), 0.0)
    recorder.handle(e.LinkEnded(1, End(Kind.NETWORK)), 1.0)
    at = recorder.conversation.next_deadline()
    assert at == 1.321
    recorder.handle(e.Tick(), at)
    again = [command for *_, commands in replay(Settings(), lines) for command in commands]
    assert [command for command in again if isinstance(command, c.Connect)] == [c.Connect(1), c.Connect(2)]


def test_words_that_could_not_be_kept_are_told() -> None:
    """Beyond 8 s of speech while connecting the oldest is lost: the snapshot says how much, in seconds begun."""
    stage = Stage(configured([("audio.echo", "off")]))
    stage.do("start")
    stage.do("speech 8 s")
    assert stage.core.snapshot.unheard_s == 0
    stage.do("speech 1040 ms")
    assert stage.core.snapshot.unheard_s == 2


@pytest.mark.parametrize(("modes", "end"), [("toggle", "press"), ("push-to-talk", "release")])
def test_a_conversation_that_is_over_leaves_no_timer(modes: str, end: str) -> None:
    """Closed by hand and by the server: nothing is waited for, nobody is woken."""
    stage = Stage(configured([("activation.modes", modes)]))
    stage.do("in conversation")
    stage.until(1.0)
    stage.do(end)
    stage.do("lost local" if end == "press" else "closed 1000")
    stage.until(1.1)
    if end == "press":
        stage.do("release")
    stage.until(1.5)
    assert stage.core.state.timers == {}
