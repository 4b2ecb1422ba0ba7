"""Oracles, random networks and tools that the tests share."""
