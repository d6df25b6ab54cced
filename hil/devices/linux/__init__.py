"""Devices that any Linux has: what the kernel measures and limits, in sysfs."""
