"""FHIR content without HTTP: read it strictly, check it, find and rewrite what is in it.

reader and writer turn text into `Json` and back, check says everything that is wrong
with a resource, models are the typed form for mapping code, meta prepares the stored
text, references finds and rewrites links, subset makes `_summary` and `_elements`.
"""
