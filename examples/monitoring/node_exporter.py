#!/usr/bin/env python3
"""For node-exporter's textfile collector; from a timer, every minute, as a member of the group device-agent:

python3 node_exporter.py > /var/lib/prometheus/node-exporter/device_agent.prom
"""

from device_agent.control.client import Client
from device_agent.errors import DeviceAgentError

try:
    with Client() as device:
        status = device.ask("status")
except DeviceAgentError:
    status = {}
print(f"device_agent_up {int(bool(status))}")
for field in ("volume", "uptime_s"):
    if field in status:
        print(f"device_agent_{field} {status[field]}")
for field in ("muted", "fault", "microphone", "loudspeaker"):
    print(f'device_agent_problem{{kind="{field}"}} {int(bool(status.get(field)))}')
