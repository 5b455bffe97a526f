"""device_agent: a voice device that talks with an ElevenLabs Agents agent."""

__version__ = "0.1.0"
