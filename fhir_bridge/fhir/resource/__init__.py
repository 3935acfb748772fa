"""What a resource is: reading, checking, models, references."""
