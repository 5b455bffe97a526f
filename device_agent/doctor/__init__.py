"""`device-agent doctor`: which part is broken, and what to do about it. One module a group; `table` lists all."""
