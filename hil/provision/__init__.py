"""Gives a board its identity, keys, files and services."""
