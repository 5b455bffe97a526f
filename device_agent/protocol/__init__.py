"""The ElevenLabs Agents wire protocol as pure functions over typed messages."""
