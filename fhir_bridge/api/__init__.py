"""The EHR's side over HTTP: the only package that knows Flask."""
