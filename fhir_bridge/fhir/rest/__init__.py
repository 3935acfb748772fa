"""What is served over HTTP, and the shapes it is served in."""
