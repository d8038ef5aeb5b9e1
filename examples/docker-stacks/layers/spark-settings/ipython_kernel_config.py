"""What every IPython kernel is told beside Spark."""

c = get_config()  # noqa: F821
# What Spark writes to its own stdout and stderr would fill the notebook.
c.IPKernelApp.capture_fd_output = False
