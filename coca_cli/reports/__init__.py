"""Rows -> tables that people read."""
