"""The simulator on a socket: one thread per connection, which owns that connection's `Conversation`."""

from __future__ import annotations

import itertools
import queue
import socket
import threading
import time
from http import HTTPStatus
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from device_agent.simulator.conversation import Conversation
from device_agent.simulator.downlink import Action, Close, Drop, Send, Stall
from device_agent.simulator.hearing import speech_detector
from device_agent.simulator.http import Doorman
from device_agent.simulator.options import Options
from device_agent.simulator.orders import Order
from device_agent.simulator.recogniser import Mind, Minds
from device_agent.simulator.voice import Voice
from device_agent.simulator.witness import Recorder, Witness

_POLL_S = 0.01
_MOST_BYTES = 16 * 2**20  # of one message, as the real service


class Simulator:
    """Listens on loopback, at `port`, from `start` until `stop`."""

    def __init__(self, options: Options, witness: Witness, recorder: Recorder, minds: Minds, voice: Voice) -> None:
        self._options, self._witness, self._recorder = options, witness, recorder
        self._minds, self._voice = minds, voice
        self._doorman = Doorman(options)
        self._numbers = itertools.count(1)
        self._orders: dict[int, queue.SimpleQueue[Order]] = {}
        self._stopped = threading.Event()
        self._server: Server | None = None

    def start(self) -> None:
        """Begins to serve. Raises OSError where the port is taken."""
        listener = socket.create_server(("127.0.0.1", self._options.port))
        if self._options.receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._options.receive_buffer)
        self._server = serve(
            self._serve,
            sock=listener,
            process_request=self._on_request,
            select_subprotocol=_prefer_convai,
            compression=None,
            max_size=_MOST_BYTES,
            max_queue=2,  # a stalled conversation soon stops reading the socket
            ping_interval=None,  # the protocol has its own
            close_timeout=1,
        )
        self.port: int = listener.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Ends every connection with 1001."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()

    def order(self, order: Order) -> None:
        """Passes one line of the control channel to the newest connection (or all, with ``"connection": 0``)."""
        target = order.get("connection")
        numbers = list(self._orders) if target == 0 else [target or max(self._orders, default=0)]
        for number in numbers:
            if number in self._orders:
                self._orders[number].put(order)
            else:
                self.refuse(order, "no such connection")

    def refuse(self, order: object, why: str) -> None:
        """Notes an order that cannot be passed on."""
        self._witness.note("order_refused", 0, order=order, why=why)

    # ------------------------------------------------------------------------------------------ HTTP
    def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        host = headers.get("host", f"127.0.0.1:{self.port}")
        reply = self._doorman.answer(request.path, headers, host, time.monotonic())
        self._witness.note("request", 0, path=request.path.partition("?")[0], status=reply.status if reply else 101)
        if reply is not None:
            body = reply.body.encode()
            head = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            return Response(reply.status, HTTPStatus(reply.status).phrase, Headers(head | dict(reply.headers)), body)
        for violation in self._doorman.violations(headers):
            self._witness.note("violation", 0, what=violation)
        return None

    # ------------------------------------------------------------------------------------ connection
    def _serve(self, socket: ServerConnection) -> None:
        """A connection's thread. Blocks in `recv` (10 ms), in `send` (until the client reads), in a stall's wait."""
        number = next(self._numbers)
        waiting = self._orders[number] = queue.SimpleQueue()
        self._witness.note("connected", number, subprotocol=socket.subprotocol)
        mind = self._minds.take()
        try:
            self._converse(socket, self._conversation(number, mind), waiting)
        except (ConnectionClosed, OSError):
            self._witness.note("closed", number, code=socket.close_code, reason=socket.close_reason)
        finally:
            del self._orders[number]
            self._minds.give(mind)

    def _conversation(self, number: int, mind: Mind) -> Conversation:
        options, now = self._options, time.monotonic()
        faults = () if options.faulty and number > options.faulty else options.fault
        hears = speech_detector()
        return Conversation(number, options, faults, mind, self._voice, hears, self._witness, self._recorder, now)

    def _converse(
        self, socket: ServerConnection, conversation: Conversation, waiting: queue.SimpleQueue[Order]
    ) -> None:
        while True:
            now = time.monotonic()
            try:
                message = socket.recv(timeout=max(0.0, min(_POLL_S, conversation.next_due - now)))
            except TimeoutError:
                pass  # nothing came: the rest of the turn is still due
            else:
                conversation.receive(message, time.monotonic())
            while not waiting.empty():
                conversation.order(waiting.get(), time.monotonic())
            conversation.tick(time.monotonic())
            for action in conversation.take(time.monotonic()):
                self._perform(socket, conversation, action)

    def _perform(self, socket: ServerConnection, conversation: Conversation, action: Action) -> None:
        """Does `action`. Every way of ending the connection raises ConnectionClosed at the next `recv`."""
        conversation.performing(action, time.monotonic())
        match action:
            case Send():
                socket.send(action.payload)
            case Close():
                socket.close(action.code, action.reason)
            case Drop():
                _cut(socket)
            case Stall():
                self._stopped.wait(None if action.seconds == float("inf") else action.seconds)
                conversation.resumed(time.monotonic())


def _cut(connection: ServerConnection) -> None:
    connection.socket.shutdown(socket.SHUT_RDWR)


def _prefer_convai(connection: ServerConnection, offered: Any) -> Subprotocol | None:
    return Subprotocol("convai") if "convai" in offered else None
