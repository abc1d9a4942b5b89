"""Worlds: each makes scenes, a pure function of (row key, episode number)."""
