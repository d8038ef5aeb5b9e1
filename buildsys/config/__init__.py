"""`layers/`, `stacks.yaml` and `buildsys.lock`: text to declared values, with all errors together."""
