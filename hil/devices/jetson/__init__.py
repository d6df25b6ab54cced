"""NVIDIA Jetson: rails, clocks and power modes."""
