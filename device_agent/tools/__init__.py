"""Client tools: functions that the agent may call on this device."""
