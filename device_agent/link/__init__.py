"""The network: resolving, dialling, the WebSocket and its one owner thread."""
