"""Faults of our own making inside the started program: it loads this file as tools, and $SABOTAGE names what to spoil.

Each shows that a row's witness sees what it is there to see. No agent could call any of these. `obey` spoils nothing:
it moves the button's pin, or lets threads hang, when a test says so.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from typing import Any

import websocket

from device_agent.audio import feed
from device_agent.audio.capture import Recording
from device_agent.audio.playback import Playout
from device_agent.core.button import Button
from device_agent.core.conversation import Conversation
from device_agent.core.retry import Retry
from device_agent.link import dial, liveness, session, wire, worker
from device_agent.link.conduit import Conduit
from device_agent.link.network import Network
from device_agent.panel import panel
from device_agent.runtime.deadline import Deadline
from device_agent.runtime.worker import Worker
from device_agent.system import state_file
from device_agent.system.log import QueueingHandler


def leak() -> None:
    """Every connection leaves a descriptor behind."""
    honest = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        os.dup(self.fileno())
        honest(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign]


def die_of_hunger() -> None:
    """What the memory does not suffice for ends the process."""
    honest = worker.end_of

    def end_of(error: BaseException) -> Any:
        return os._exit(1) if isinstance(error, MemoryError) else honest(error)

    worker.end_of = session.end_of = end_of


def patient() -> None:
    """No deadline of the link."""
    worker.CONNECT_S = 60.0
    for name in ("METADATA_S", "SILENCE_S", "ACK_S", "STALL_S"):
        setattr(liveness, name, 60.0)


def hammer() -> None:
    """Whatever the server says, the next attempt comes at once."""
    Retry.delay = lambda *_, **__: 0.3  # type: ignore[method-assign]


def idle() -> None:
    """After the first failure nobody tries again for a minute."""
    Retry.delay = lambda *_, **__: 60.0  # type: ignore[method-assign]


def trusting() -> None:
    """Any certificate will do."""
    honest = dial.Dialer._make_context

    def make(self: dial.Dialer) -> ssl.SSLContext:
        context = honest(self)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    dial.Dialer._make_context = make  # type: ignore[method-assign]


def sluggish() -> None:
    """The link thread sleeps for 0.1 s in each turn."""
    honest = session.Session._turn

    def turn(self: session.Session, post: Any) -> None:
        threading.Event().wait(0.1)
        honest(self, post)

    session.Session._turn = turn  # type: ignore[method-assign]


def talkative() -> None:
    """Each line of the log is written by the thread that has it."""
    QueueingHandler.emit = lambda self, record: print(self.format(record), flush=True)  # type: ignore[method-assign]


def deaf() -> None:
    """Nobody hears what the kernel says of addresses, and after the first failure nobody tries again for a minute."""
    Network.fileno = lambda _: -1  # type: ignore[method-assign]
    idle()


def anxious() -> None:
    """What cannot be written ends the process."""
    honest = state_file.write_atomically

    def write(*arguments: Any) -> None:
        try:
            honest(*arguments)
        except OSError:
            os._exit(1)

    state_file.write_atomically = write


def civil() -> None:
    """The link looks at the clock on the wall."""
    worker.Link.clock = property(lambda _: time.time, lambda *_: None)  # type: ignore[assignment]


def careless() -> None:
    """A reply that has had a gap begins again at once."""
    feed.CUSHION_S = 0.0


def lenient() -> None:
    """Whatever a frame's header says is believed."""
    wire._Frames.recv_header = websocket.frame_buffer.recv_header  # type: ignore[method-assign]


def garbled() -> None:
    """Two threads at one TLS socket: a record comes between that is none."""
    honest = Conduit.send

    def send(self: Conduit, data: Any) -> int:
        if self._attempt is None:
            socket.socket.send(self._sock, b"\x17\x03\x03\x00\x20" + bytes(32))
        return honest(self, data)

    Conduit.send = send  # type: ignore[method-assign]


def bouncy() -> None:
    """Each edge counts."""
    honest = Button.__init__
    Button.__init__ = lambda self, _: honest(self, 0.0)  # type: ignore[method-assign]


def stubborn() -> None:
    """The stop waits for everybody, however long."""
    honest = Worker.join
    Worker.join = lambda self, _: honest(self, Deadline(60.0))  # type: ignore[method-assign]
    signal.setitimer = lambda *_: (0.0, 0.0)


def obey() -> None:
    """Do what comes as datagrams: `pin 0.005 1 0 1` presses and releases the button, `hang` stops four threads."""
    pins = []
    honest = panel.mock_pins

    def mock_pins(*arguments: Any) -> Any:
        pins.append(honest(*arguments))
        return pins[-1]

    panel.mock_pins = mock_pins
    orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    orders.bind(f"{os.environ['RUNTIME_DIRECTORY']}/orders")

    def work() -> None:
        while True:
            what, *words = orders.recv(65536).decode().split()
            if what == "hang":
                hang()
                continue
            for edge in words[1:]:
                pins[0].button.drive_low() if edge == "1" else pins[0].button.drive_high()
                threading.Event().wait(float(words[0]))

    threading.Thread(target=work, daemon=True).start()


def hang() -> None:
    """From the next turn on."""

    def stand_still(*_: Any) -> Any:
        threading.Event().wait()

    Recording.turn = Playout.turn = session.Session._turn = stand_still  # type: ignore[method-assign]
    Conversation.handle = stand_still  # type: ignore[method-assign]


for name in os.environ["SABOTAGE"].split():
    globals()[name]()
