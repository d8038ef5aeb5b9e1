"""The plan as a bake definition: its HCL, its JSON, and the file of one run."""
