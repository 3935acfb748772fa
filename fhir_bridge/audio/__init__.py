"""What a recording is, and its bytes by time."""
