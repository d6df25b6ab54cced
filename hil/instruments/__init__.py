"""Instruments of the bench, driven over SCPI; no flight software knows them."""
