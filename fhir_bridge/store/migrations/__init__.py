"""The schema's revisions, one file each, run by `store.migrate`."""
