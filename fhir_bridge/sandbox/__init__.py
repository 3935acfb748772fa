"""A local Corti that really listens; imports nothing of the bridge."""
