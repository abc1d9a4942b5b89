"""Figures: results.jsonl, its tables and its pictures."""
