"""What every Jupyter server of these images is told."""

import os
import subprocess
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir

c = get_config()  # noqa: F821
# All addresses, of either kind: what reaches the container is for docker to say.
c.ServerApp.ip = ""
c.ServerApp.open_browser = False
# A volume may have no trash.
c.FileContentsManager.delete_to_trash = False
# Plots are kept in these forms in the notebook.
c.InlineBackend.figure_formats = {"png", "jpeg", "svg", "pdf"}


def certificate() -> str:
    """Return the path of a new certificate of this server's own, its key in the same file."""
    folder = Path(jupyter_data_dir())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "notebook.pem"
    path.touch(mode=0o600)
    subject = "/C=XX/ST=XX/L=XX/O=generated/CN=generated"
    words = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", subject]
    subprocess.run([*words, "-keyout", str(path), "-out", str(path)], check=True)
    return str(path)


if "GEN_CERT" in os.environ:
    c.ServerApp.certfile = certificate()
if "NB_UMASK" in os.environ:
    os.umask(int(os.environ["NB_UMASK"], 8))
