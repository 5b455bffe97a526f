"""A local server that behaves like ElevenLabs Agents, to talk to and to be judged by."""
