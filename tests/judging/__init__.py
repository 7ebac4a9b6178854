"""Acceptance cases: markers in a user's script, held against the report that the guard makes of it."""
