"""What the agent asks of this device in one conversation: client tools, and approvals of its MCP tools."""

from __future__ import annotations

from device_agent.core.commands import RunTool, Send
from device_agent.core.events import ToolDone
from device_agent.core.state import State
from device_agent.core.tables import Link
from device_agent.protocol import messages as m

CALLS = 1024  # remembered, so that a repeated call runs once
APPROVALS = 64  # waiting at the same time; more are refused at once


class Calls:
    """Each call runs once, is answered once where an answer is expected, and never after the connection's end."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._answers: dict[str, bool] = {}
        self._approvals: dict[str, float] = {}

    def connect(self) -> None:
        """A new conversation knows nothing of earlier calls."""
        self._answers.clear()
        self._approvals.clear()

    def run(self, call: m.ClientToolCall) -> None:
        """The agent calls a tool of this device."""
        if call.tool_call_id in self._answers:
            return
        if len(self._answers) >= CALLS:
            del self._answers[next(iter(self._answers))]
        self._answers[call.tool_call_id] = call.expects_response
        self._state.orders.append(RunTool(self._state.conn, call.tool_call_id, call.tool_name, call.parameters))

    def done(self, done: ToolDone) -> None:
        """The tool's outcome."""
        current = done.conn == self._state.conn and self._state.link is Link.READY
        if current and self._answers.get(done.tool_call_id):
            self._answers[done.tool_call_id] = False
            result = m.ClientToolResult(done.tool_call_id, done.result, done.is_error, done.error_type)
            self._state.orders.append(Send(done.conn, result))

    def approval(self, call: m.McpToolCall) -> None:
        """A tool on the server waits for a person's word, or does no longer. Nobody can give it: see `refuse`."""
        self._approvals.pop(call.tool_call_id, None)
        if call.state == "awaiting_approval":
            if len(self._approvals) < APPROVALS:
                self._approvals[call.tool_call_id] = self._state.now + call.approval_timeout_s
            else:
                self._refuse(call.tool_call_id)
        self._watch()

    def refuse(self) -> None:
        """Whatever was not approved in time is refused."""
        late = [call_id for call_id, at in self._approvals.items() if at <= self._state.now]
        for call_id in late:
            del self._approvals[call_id]
            self._refuse(call_id)
        self._watch()

    def _refuse(self, call_id: str) -> None:
        self._state.orders.append(Send(self._state.conn, m.McpToolApprovalResult(call_id, is_approved=False)))

    def _watch(self) -> None:
        if self._approvals:
            self._state.after("approval", min(self._approvals.values()) - self._state.now)
        else:
            self._state.cancel("approval")
