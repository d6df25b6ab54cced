"""Raspberry Pi: what its firmware and its power management chip tell."""
