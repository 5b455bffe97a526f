"""The simulator on a socket: one thread per connection, which owns that connection's `Conversation`."""

from __future__ import annotations

import itertools
import json
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
from device_agent.simulator.downlink import Action, Close, Drop, Send
from device_agent.simulator.hearing import speech_detector
from device_agent.simulator.http import Doorman
from device_agent.simulator.options import Options
from device_agent.simulator.recogniser import Mind, Minds
from device_agent.simulator.voice import Voice
from device_agent.simulator.witness import Recorder, Witness

_POLL_S = 0.01
_MOST_BYTES = 16 * 2**20  # of one message, as the real service


class Simulator:
    """A context manager: listens on loopback from `__enter__` until `__exit__`."""

    def __init__(self, options: Options, witness: Witness, recorder: Recorder, minds: Minds, voice: Voice) -> None:
        self._options, self._witness, self._recorder = options, witness, recorder
        self._minds, self._voice = minds, voice
        self._doorman = Doorman(options)
        self._numbers = itertools.count(1)
        self._orders: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._stopped = threading.Event()
        self._server: Server | None = None

    def __enter__(self) -> Simulator:
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
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()

    def order(self, order: dict[str, Any]) -> None:
        """Passes one line of the control channel to the newest connection (or all, with ``"connection": 0``)."""
        target = order.get("connection")
        numbers = list(self._orders) if target == 0 else [target or max(self._orders, default=0)]
        for number in numbers:
            if number in self._orders:
                self._orders[number].put(order)
            else:
                self._witness.note("order_refused", 0, order=order, why="no such connection")

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
        orders = self._orders[number] = queue.SimpleQueue()
        self._witness.note("connected", number, subprotocol=socket.subprotocol)
        mind = self._minds.take()
        try:
            self._converse(socket, self._conversation(number, mind), orders)
        except (ConnectionClosed, OSError):
            self._witness.note("closed", number, code=socket.close_code, reason=socket.close_reason)
        finally:
            del self._orders[number]
            self._minds.give(mind)

    def _conversation(self, number: int, mind: Mind) -> Conversation:
        options = self._options
        spared = options.faulty and number > options.faulty
        return Conversation(
            number,
            options,
            mind,
            self._voice,
            self._witness,
            self._recorder,
            speech_detector(),
            time.monotonic(),
            faults=() if spared else options.fault,
        )

    def _converse(
        self, socket: ServerConnection, conversation: Conversation, orders: queue.SimpleQueue[dict[str, Any]]
    ) -> None:
        while True:
            now = time.monotonic()
            try:
                message = socket.recv(timeout=max(0.0, min(_POLL_S, conversation.next_due() - now)))
            except TimeoutError:
                pass  # nothing came: the rest of the turn is still due
            else:
                conversation.receive(message, time.monotonic())
            while not orders.empty():
                self._obey(conversation, orders.get())
            conversation.tick(time.monotonic())
            for action in conversation.take(time.monotonic()):
                self._perform(socket, conversation, action)

    def _obey(self, conversation: Conversation, order: dict[str, Any]) -> None:
        try:
            conversation.order(order, time.monotonic())
        except (KeyError, TypeError, ValueError) as error:
            self._witness.note("order_refused", conversation.number, order=order, why=repr(error))

    def _perform(self, socket: ServerConnection, conversation: Conversation, action: Action) -> None:
        """Does `action`. Every way of ending the connection raises ConnectionClosed at the next `recv`."""
        if isinstance(action, Send):
            conversation.sent(action, time.monotonic())
            socket.send(action.payload)
        elif isinstance(action, Close):
            self._witness.note("closing", conversation.number, code=action.code, reason=action.reason)
            socket.close(action.code, action.reason)
        elif isinstance(action, Drop):
            self._witness.note("dropping", conversation.number)
            _cut(socket)
        else:
            self._witness.note("stalling", conversation.number, seconds=str(action.seconds))
            self._stopped.wait(None if action.seconds == float("inf") else action.seconds)
            conversation.resumed(time.monotonic())


def _cut(connection: ServerConnection) -> None:
    connection.socket.shutdown(socket.SHUT_RDWR)


def _prefer_convai(connection: ServerConnection, offered: Any) -> Subprotocol | None:
    return Subprotocol("convai") if "convai" in offered else None


def read_orders(lines: Any, simulator: Simulator, witness: Witness) -> None:
    """Feeds the control channel's JSON lines to `simulator` until they end. Blocks in reading them."""
    for line in lines:
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise TypeError("not an object")
        except (ValueError, TypeError) as error:
            witness.note("order_refused", 0, order=line.strip(), why=str(error))
        else:
            simulator.order(order)
