"""What `layer.yaml` and its Dockerfile declare: fields, templates, parameters, recipes and layers."""
