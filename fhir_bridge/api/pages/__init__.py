"""Swagger UI and the console page, all assets served locally."""
