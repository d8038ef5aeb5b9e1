"""Composes container base images from reusable layers."""

__version__ = "0.1.0"
