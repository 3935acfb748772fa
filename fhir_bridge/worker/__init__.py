"""Corti's side in time: the only caller of Corti."""
