"""Chips on I2C that are read without a kernel driver."""
