"""References, descriptors and manifests, and a client of the OCI distribution API."""
