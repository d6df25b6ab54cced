"""The laser terminals: point at a relay, find it, stay on it, and find it again after a fade.

Geometry, link budget, scan and the acquisition state machine are pure; what the state machine knows of the partner is
what the detector and the gimbal's encoders say.
"""
