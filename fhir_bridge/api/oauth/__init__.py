"""The built-in authorization server's routes."""
