"""Encrypted audio on disk."""
