"""Runs every example of the documentation, and checks that nothing is left out of it."""
