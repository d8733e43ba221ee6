"""Simulated tools: real HTTP servers on loopback that speak four vendors' API shapes, for demo and tests.

Each keeps its own truth and its own history file, so that what the hub did can be counted without asking the hub.
"""
