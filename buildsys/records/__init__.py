"""YAML texts become typed values, each with its location; a JSON Schema describes what may be written."""
