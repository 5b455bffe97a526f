"""Finds, opens and closes the cards; the one owner of PortAudio."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from device_agent.audio import host
from device_agent.audio.card import DEVICE_BUSY, OUTPUT_FPB_S, RATE, Card, explain, probe
from device_agent.audio.choice import LOUDSPEAKER, MICROPHONE, Candidate, NotThere, Search, Side, candidates
from device_agent.audio.hardware import Machine
from device_agent.audio.reference import Reference
from device_agent.config.schema import Audio
from device_agent.errors import AudioError
from device_agent.runtime.deadline import Deadline

__all__ = ["OUTPUT_FPB_S", "RATE", "Card", "Devices"]

log = logging.getLogger(__name__)

ALONE_S = 0.25  # a turn takes some ms, on a slow machine with a canceller some tens: who stays longer hangs
LOOK_S = 0.0005  # how often it is looked whether the last one has left
TRIES = 3  # new starts for a card that is listed and free, yet not found by PortAudio


class Devices:
    """Both threads open and close their own streams here; PortAudio itself may start anew only between streams.

    PortAudio sees new cards only after a new start, which ends every stream. `renew` therefore asks every thread
    to close its stream (they watch `renewing`), waits for that, starts anew, and lets them open again.

    The lock is needed because PortAudio's own list of streams has none. It is held while a card opens (2–20 ms)
    or PortAudio starts, never while samples move.

    But no sample moves while a card opens, either (`entered`). PortAudio keeps the last error of every call, of all
    threads, in one variable, and when a rate is refused it looks there again: what another thread has put there since
    makes a success of it, and the stream that is none kills the process (seen on ALSA: once in 20 to 300 openings).
    """

    def __init__(
        self,
        settings: Audio,
        start: Callable[[], host.Host] = host.start,
        machine: Machine | None = None,
        patience_s: float = 2.0,
    ) -> None:
        self._settings = settings
        self._start = start
        self._machine = machine or Machine()
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._noise = host.Noise()
        self._host: host.Host | None = None
        self._listed: tuple[str, ...] = ()
        self._awaited: dict[bool, list[int]] = {}  # cards that fit and were not free when we looked, by direction
        self._tries = TRIES
        self._open = 0
        self._opening = False
        self._inside: set[str] = set()  # threads that are in a turn; its changes are atomic
        self._wakers: list[Callable[[], None]] = []
        self.reference = Reference()
        """From the playback thread to the capture thread."""
        self.loudspeaker: Card | None = None
        """The one that was opened last."""
        self.renewing = False
        """Every thread with an open stream shall close it now."""
        self.renewals = 0

    # ------------------------------------------------------------------------------------- any thread
    def names(self, output: bool) -> list[str]:
        """The cards that there are, by name."""
        return [candidate.name for candidate in self.candidates(output)]

    def candidates(self, output: bool) -> list[Candidate]:
        """The cards that there are, with what the kernel knows of each."""
        with self._changed:
            return self._candidates(output)

    def watch(self, waker: Callable[[], None]) -> None:
        """Have `waker` called when `renewing` becomes true."""
        self._wakers.append(waker)

    def prepare(self) -> None:
        """Start PortAudio ahead of the first stream, because it takes 40 ms or more. What fails is said at opening."""
        with self._changed, contextlib.suppress(AudioError, OSError):
            self._started()

    # ------------------------------------------------------------- the thread that will use the stream
    def open_input(self) -> Card:
        """Open the configured microphone; AudioError names what is wrong and the remedy."""
        return self._open_card(MICROPHONE, self._settings.input)

    def open_output(self) -> Card:
        """Open the configured loudspeaker; AudioError names what is wrong and the remedy."""
        self.loudspeaker = self._open_card(LOUDSPEAKER, self._settings.output)
        return self.loudspeaker

    def entered(self, thread: str) -> bool:
        """To be asked before each use of a stream, by the thread of that name; False: not now, a card opens (2–20 ms).

        `left` follows a use. No race: who enters says so before it looks, and so does who opens.
        """
        self._inside.add(thread)
        if not self._opening:
            return True
        self._inside.discard(thread)
        return False

    def left(self, thread: str) -> None:
        """The use of a stream is over, for this turn."""
        self._inside.discard(thread)

    def close(self, card: Card) -> None:
        """Close a stream; the thread that opened it, and no other."""
        with self._changed:
            try:
                with self._noise.caught():
                    card.stream.close()
            except OSError as error:  # a card that was pulled out: `renew` sweeps
                log.debug("close-failed card=%r error=%s", card.name, error)
            self._open -= 1
            self._changed.notify_all()

    def changed(self) -> bool:
        """Whether a card or a sound server has come, gone, or become free since PortAudio looked; cheap, any thread."""
        if self._machine.surroundings() != self._listed:
            self._tries = TRIES
            return True
        awaited = [(card, output) for output, cards in self._awaited.items() for card in cards]
        return bool(self._tries) and any(not self._machine.obstacle(card, output) for card, output in awaited)

    def stale(self, error: Exception | None = None) -> bool:
        """Whether a new start may help after this `error`; it is not cheap, and disturbs whoever has a stream.

        A card that is listed again, or free again, deserves it. Otherwise nobody may be disturbed, and there
        must be some hope: where no card fits, only a sound server may change its mind without a trace.
        """
        if self.changed():
            self._tries -= 1
            return True
        return self._open == 0 and not (isinstance(error, NotThere) and len(self._listed) == 1)

    def renew(self, seen: int) -> None:
        """Start PortAudio anew, unless somebody has since `seen` (a value of `renewals`).

        The caller's own stream is closed. Raises RuntimeError if another thread does not let go within 2 s: that
        one hangs inside PortAudio, and only a new process helps.
        """
        with self._changed:
            if self.renewals != seen or self.renewing:
                return  # another thread's renewal; opening waits for it
            self.renewing = True
            try:
                for wake in self._wakers:
                    wake()
                if not self._changed.wait_for(lambda: self._open == 0, self._patience_s):
                    raise RuntimeError("a thread does not give back its sound card")
                self._restart()
                self.renewals += 1
            finally:
                self.renewing = False
                self._changed.notify_all()

    def terminate(self) -> None:
        """End PortAudio; all streams are closed."""
        with self._changed:
            if self._host is not None:
                self._host.terminate()
                self._host = None

    # ---------------------------------------------------------------------------------- under the lock
    def _restart(self) -> None:
        if self._host is not None:
            with self._noise.caught():
                self._host.terminate()
            self._host = None
        if swept := host.sweep():
            log.info("swept descriptors=%d", swept)
        self._started()

    def _started(self) -> host.Host:
        if self._host is None:
            self._listed = self._machine.surroundings()
            self._awaited.clear()
            with self._noise.caught():
                self._host = self._start()
        return self._host

    def _candidates(self, output: bool) -> list[Candidate]:
        pa, key = self._started(), "maxOutputChannels" if output else "maxInputChannels"
        infos = (pa.get_device_info_by_index(index) for index in range(pa.get_device_count()))
        return candidates([info for info in infos if info[key] > 0], self._machine.cards())

    def _open_card(self, side: Side, wanted: Sequence[str]) -> Card:
        """The first choice that can be opened; the notes of those before it go with it."""
        with self._changed:
            self._changed.wait_for(lambda: not self.renewing)
            search = Search(side, self._candidates(side.output), self._machine, partial(self._default, side.output))
            problems: list[AudioError] = []
            for find in search.choices(wanted):
                try:
                    candidate, note = find()
                    card = self._open_one(side, candidate)
                except AudioError as error:
                    problems.append(error)
                    continue
                card.note = "; ".join([*map(str, problems), *filter(None, [note])])
                self._open += 1
                return card
            self._awaited[side.output] = search.awaited
            if len(problems) == 1:
                raise problems[0]
            kind = NotThere if all(isinstance(problem, NotThere) for problem in problems) else AudioError
            raise kind("; ".join(map(str, problems)))

    def _default(self, output: bool) -> Candidate | None:
        """PortAudio's own default, which is ALSA's."""
        pa = self._started()
        with contextlib.suppress(OSError):
            return Candidate(pa.get_default_output_device_info() if output else pa.get_default_input_device_info())
        return None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody is in a turn, and nobody begins one; who stays in it for 0.25 s is not waited for."""
        self._opening = True
        try:
            deadline, pause = Deadline(ALONE_S), threading.Event()
            while self._inside and not deadline.passed:
                pause.wait(LOOK_S)
            yield
        finally:
            self._opening = False

    def _open_one(self, side: Side, candidate: Candidate) -> Card:
        named, hardware = f"{side.thing} {candidate.name!r}", candidate.hardware
        try:
            pa = self._started()
            with self._noise.caught(), self._alone():
                card = probe(pa, candidate, side.output, self._settings.input_channel)
        except OSError as error:
            busy = error.errno == DEVICE_BUSY and hardware is not None
            obstacle = self._machine.obstacle(hardware.number, side.output) if busy and hardware else ""
            raise (AudioError(f"{named} {obstacle}") if obstacle else explain(named, error)) from error
        if hardware is not None:
            card.gone = lambda: not self._machine.present(hardware.number)
        return card
