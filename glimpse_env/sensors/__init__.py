"""Sensors: each turns a canvas and a gaze into a glimpse."""
