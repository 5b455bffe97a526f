"""The mailbox: one order for all facts, and bounds with a policy."""

from __future__ import annotations

import threading

from device_agent.core.events import Frame, Start, Tick, ToolDone
from device_agent.runtime.mailbox import CONTROL_LIMIT, FRAME_LIMIT, Mailbox


def frame(seq: int) -> Frame:
    return Frame(seq, False, -60.0, 0.0)


def test_facts_come_out_in_the_order_in_which_they_went_in() -> None:
    """First in, first out, whatever the kind."""
    mailbox = Mailbox()
    facts = [Start(), frame(1), Tick(), frame(2)]
    for fact in facts:
        mailbox.post(fact)
    assert [mailbox.get(0) for _ in facts] == facts


def test_nothing_comes_of_nothing() -> None:
    """An empty mailbox gives None when the time is over."""
    assert Mailbox().get(0.001) is None


def test_frames_make_room_for_facts() -> None:
    """Frames are refused and counted from 512 entries on, other facts from 1,024."""
    mailbox = Mailbox()
    for seq in range(FRAME_LIMIT + 3):
        mailbox.post(frame(seq))
    assert (mailbox.frames_refused, mailbox.overflow) == (3, 0)
    for _ in range(CONTROL_LIMIT - FRAME_LIMIT + 2):
        mailbox.post(Tick())
    assert (mailbox.frames_refused, mailbox.overflow) == (3, 2)
    mailbox.get(0)
    mailbox.post(Tick())
    assert mailbox.overflow == 2


def test_each_writers_facts_keep_their_order() -> None:
    """Four threads write at once: nothing is lost, and each one's facts stay in order."""
    mailbox = Mailbox()

    def write(name: int) -> None:
        for n in range(200):
            mailbox.post(ToolDone(name, "call", str(n)))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    facts = [mailbox.get(0) for _ in range(800)]
    for name in range(4):
        mine = [fact.result for fact in facts if isinstance(fact, ToolDone) and fact.conn == name]
        assert mine == [str(n) for n in range(200)]


def test_a_waiting_reader_is_woken() -> None:
    """A reader without a deadline gets the next fact."""
    mailbox, got = Mailbox(), []
    reader = threading.Thread(target=lambda: got.append(mailbox.get(None)), daemon=True)
    reader.start()
    mailbox.post(Start())
    reader.join(5)
    assert got == [Start()]
