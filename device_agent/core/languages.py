"""The language of the conversation, and how the agent is set up in each."""

from __future__ import annotations

from dataclasses import replace

from device_agent.config.schema import Agent
from device_agent.core.state import State


class Languages:
    """`agent.languages` names them in the order of the language button; each may override parts of [agent]."""

    def __init__(self, agent: Agent, state: State) -> None:
        self._agent = agent
        self._state = state
        self._names = tuple(agent.languages)
        first = agent.language or (self._names[0] if self._names else "")
        state.change(language=first)

    @property
    def agent(self) -> Agent:
        """What holds in the language that is chosen."""
        language = self._state.snapshot.language
        return replace(self._agent, language=language, **self._agent.languages.get(language, {}))

    @property
    def agent_id(self) -> str:
        """The agent of this language, where it is another one."""
        return str(self._agent.languages.get(self._state.snapshot.language, {}).get("id", ""))

    def next(self) -> bool:
        """Choose the next one. False if there is no other."""
        now = self._state.snapshot.language
        at = self._names.index(now) + 1 if now in self._names else 0
        return self.choose(self._names[at % len(self._names)] if self._names else now)

    def choose(self, language: str) -> bool:
        """Choose this one. False if that changes nothing, or if there is no such language."""
        if language == self._state.snapshot.language or language not in self._names:
            return False
        self._state.change(language=language)
        return True
