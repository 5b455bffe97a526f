"""A faithful local Agents server for demos, tests and benchmarks."""
