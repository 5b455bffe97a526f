"""Every message of the Agents WebSocket as a frozen dataclass, under its wire type.

`event_id` may be absent on the wire wherever it is `int | None` here. Text is verbatim.
Sources: ElevenLabs' public AsyncAPI schemas (Unity vendored copy of 2026-06-19, `@elevenlabs/types` 0.23.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from device_agent.records import record

Json = Any  # what json.loads may return


# ---------------------------------------------------------------------------------- from the server
@record
class Metadata:
    """Sent once, first: what was negotiated. Formats are wire names such as ``pcm_16000``, ``ulaw_8000``."""

    conversation_id: str
    agent_output_audio_format: str
    user_input_audio_format: str


@record
class Alignment:
    """Which characters sound when, in milliseconds from the start of the same chunk."""

    chars: tuple[str, ...]
    start_ms: tuple[int, ...]
    duration_ms: tuple[int, ...]


@record
class Audio:
    """A piece of the agent's voice, in the negotiated output format. All pieces of one reply share `event_id`."""

    data: bytes
    event_id: int | None = None
    alignment: Alignment | None = None
    is_final: bool = False


@record
class UserTranscript:
    text: str
    event_id: int | None = None


@record
class TentativeUserTranscript:
    text: str
    event_id: int | None = None


@record
class AgentResponse:
    """The whole text of a reply; it comes with the first audio, before it is spoken."""

    text: str
    event_id: int | None = None


@record
class AgentResponseCorrection:
    """After an interruption: the text cut to what the server believes was spoken."""

    original: str
    corrected: str
    event_id: int | None = None


@record
class Interruption:
    """The user speaks over the agent. `event_id` may be missing: flush all the same."""

    event_id: int | None = None
    reason: str | None = None


@record
class Ping:
    """Must be answered at once by `Pong` with the same id. `ping_ms` is the server's round-trip estimate."""

    event_id: int
    ping_ms: int | None = None


@record
class ClientToolCall:
    tool_name: str
    tool_call_id: str
    parameters: Mapping[str, Json]
    event_id: int | None = None
    expects_response: bool = True


@record
class ContextualUpdateReceived:
    text: str


@record
class VadScore:
    """Probability (0–1) that the user speaks, in the server's opinion."""

    score: float


@record
class TurnProbability:
    """Probability (0–1) that the user's turn has ended."""

    probability: float


@record
class TentativeAgentResponse:
    text: str


@record
class AgentChatResponsePart:
    """Streaming text; `kind` is start, delta or stop (start and stop have none)."""

    text: str
    kind: str
    event_id: int | str | None = None


@record
class AgentResponseComplete:
    event_id: int | None = None


@record
class AgentResponseMetadata:
    metadata: Mapping[str, Json]
    event_id: int | None = None


@record
class AgentToolRequest:
    tool_name: str
    tool_call_id: str
    tool_type: str = ""
    event_id: int | None = None


@record
class AgentToolResponse:
    """A tool ran on the server. ``tool_name == "end_call"`` means that the agent hangs up, if it `is_called`."""

    tool_name: str
    tool_call_id: str
    tool_type: str = ""
    is_error: bool = False
    event_id: int | None = None
    full_tool_result: str | None = None
    is_called: bool = True


@record
class McpToolCall:
    """`state` is loading, awaiting_approval, success or failure."""

    service_id: str
    tool_call_id: str
    tool_name: str
    state: str
    approval_timeout_s: float = 300.0


@record
class McpConnectionStatus:
    integrations: tuple[Mapping[str, Json], ...]


@record
class AsrInitiationMetadata:
    metadata: Mapping[str, Json]


@record
class ContextUsage:
    context_tokens: int | None = None
    context_limit_tokens: int | None = None
    model: str | None = None
    event_id: int | None = None


@record
class GuardrailTriggered:
    name: str | None = None


@record
class AgentReasoningResponsePart:
    text: str
    kind: str
    event_id: int | str | None = None


@record
class RichContent:
    rich_content_id: str
    component: str
    props: Mapping[str, Json]
    event_id: int | None = None


@record
class AgentTyping:
    is_typing: bool
    duration_ms: int | None = None


@record
class ExternalAgent:
    """A person took over (`connected`) or handed back."""

    connected: bool


@record
class QueueStatus:
    """`status` is waiting (we are held, what we send is thrown away), admitted or timed_out; others are not held."""

    status: str


@record
class ServerError:
    """From `error` and `client_error`. The close frame that follows carries the reason that counts."""

    code: int | None = None
    message: str = ""
    error_type: str = ""


@record
class DtmfRequest:
    """Its shape is not published: `payload` is the whole message."""

    payload: Mapping[str, Json]


@record
class AudioAlignment:
    alignment: Alignment
    event_id: int | None = None


@record
class Unknown:
    """A type that is newer than this program: counted and ignored."""

    type: str


ServerMessage = (
    Metadata | Audio | UserTranscript | TentativeUserTranscript | AgentResponse | AgentResponseCorrection
    | Interruption | Ping | ClientToolCall | ContextualUpdateReceived | VadScore | TurnProbability
    | TentativeAgentResponse | AgentChatResponsePart | AgentResponseComplete | AgentResponseMetadata
    | AgentToolRequest | AgentToolResponse | McpToolCall | McpConnectionStatus | AsrInitiationMetadata
    | ContextUsage | GuardrailTriggered | AgentReasoningResponsePart | RichContent | AgentTyping
    | ExternalAgent | QueueStatus | ServerError | DtmfRequest | AudioAlignment | Unknown
)  # fmt: skip


@record
class Skipped:
    """What `decode` says instead of raising. `reason` is one of the codec's `REASONS`."""

    reason: str
    type: str = ""


# ------------------------------------------------------------------------------------ to the server
@record
class Pong:
    type: ClassVar[str] = "pong"
    event_id: int


@record
class Initiation:
    """`conversation_initiation_client_data`. Unset fields do not appear on the wire.

    `config_override` is passed through as given: which fields are allowed is the agent's own setting,
    and one that is not allowed closes the call (1008).
    """

    type: ClassVar[str] = "conversation_initiation_client_data"
    config_override: Mapping[str, Json] = field(default_factory=dict)
    dynamic_variables: Mapping[str, Json] = field(default_factory=dict)
    extra_body: Mapping[str, Json] = field(default_factory=dict)
    user_id: str = ""
    branch_id: str = ""
    environment: str = ""


@record
class ClientToolResult:
    """`result` is text (JSON for anything that is not). `error_type` is one of the schema's, or empty."""

    type: ClassVar[str] = "client_tool_result"
    tool_call_id: str
    result: str
    is_error: bool = False
    error_type: str = ""


@record
class ContextualUpdate:
    """Background facts; never starts a turn. The same `context_id` replaces the earlier text."""

    type: ClassVar[str] = "contextual_update"
    text: str
    context_id: str = ""


@record
class UserMessage:
    type: ClassVar[str] = "user_message"
    text: str


@record
class UserActivity:
    type: ClassVar[str] = "user_activity"


@record
class Feedback:
    """Rates the reply `event_id`; `score` is like or dislike."""

    type: ClassVar[str] = "feedback"
    event_id: int
    score: str


@record
class MultimodalMessage:
    type: ClassVar[str] = "multimodal_message"
    text: str = ""
    file_ids: tuple[str, ...] = ()


@record
class McpToolApprovalResult:
    type: ClassVar[str] = "mcp_tool_approval_result"
    tool_call_id: str
    is_approved: bool


ClientMessage = (
    Pong | Initiation | ClientToolResult | ContextualUpdate | UserMessage | UserActivity | Feedback
    | MultimodalMessage | McpToolApprovalResult
)  # fmt: skip
