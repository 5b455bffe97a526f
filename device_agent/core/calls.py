"""What the agent asks of this device in one conversation: client tools, and approvals of its MCP tools."""

from __future__ import annotations

from device_agent.core.commands import RunTool, Send
from device_agent.core.events import ToolDone
from device_agent.protocol import messages as m

CALLS = 1024  # remembered, so that a repeated call runs once
APPROVALS = 64  # waiting at the same time; more are refused at once


class Calls:
    """Each call runs once, is answered once where an answer is expected, and never after the connection's end."""

    def __init__(self, conn: int = 0) -> None:
        self._conn = conn
        self._answers: dict[str, bool] = {}
        self._approvals: dict[str, float] = {}

    def run(self, call: m.ClientToolCall) -> list[RunTool]:
        """The agent calls a tool of this device."""
        if call.tool_call_id in self._answers:
            return []
        if len(self._answers) >= CALLS:
            del self._answers[next(iter(self._answers))]
        self._answers[call.tool_call_id] = call.expects_response
        return [RunTool(self._conn, call.tool_call_id, call.tool_name, call.parameters)]

    def done(self, done: ToolDone) -> list[Send]:
        """The tool's outcome."""
        if done.conn != self._conn or not self._answers.get(done.tool_call_id):
            return []
        self._answers[done.tool_call_id] = False
        result = m.ClientToolResult(done.tool_call_id, done.result, done.is_error, done.error_type)
        return [Send(self._conn, result)]

    def approval(self, call: m.McpToolCall, now: float) -> list[Send]:
        """A tool on the server waits for a person's word, or does no longer. Nobody can give it: see `refuse`."""
        self._approvals.pop(call.tool_call_id, None)
        if call.state != "awaiting_approval":
            return []
        if len(self._approvals) >= APPROVALS:
            return [self._refusal(call.tool_call_id)]
        self._approvals[call.tool_call_id] = now + max(0.0, call.approval_timeout_s)
        return []

    def next_deadline(self) -> float | None:
        """When `refuse` is due."""
        return min(self._approvals.values(), default=None)

    def refuse(self, now: float) -> list[Send]:
        """Whatever was not approved in time is refused."""
        late = [call_id for call_id, at in self._approvals.items() if at <= now]
        for call_id in late:
            del self._approvals[call_id]
        return [self._refusal(call_id) for call_id in late]

    def _refusal(self, call_id: str) -> Send:
        return Send(self._conn, m.McpToolApprovalResult(call_id, is_approved=False))
