"""Calls per second, for each caller, function and plugin."""
