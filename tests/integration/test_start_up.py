"""Commands import at start-up only what they need."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_quick_answers_load_neither_networkx_nor_python_on_whales(
    words: list[str],
) -> None:
    script = (
        "import sys\nfrom buildsys.__main__ import main\n"
        f"sys.argv = ['buildsys', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'networkx', 'python_on_whales', 'pydantic', 'yaml'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
