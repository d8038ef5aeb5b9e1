"""The entry point: `--version` is answered before anything heavy is imported."""

import os
import sys

from buildsys import __version__


def main() -> None:
    """Run the command line and end the process."""
    _open_missing_streams()
    if sys.argv[1:] == ["--version"]:
        try:
            print(f"buildsys {__version__}", flush=True)
        except OSError as error:
            from buildsys.cli.boundary import end_without_output

            end_without_output(error)
        return
    from buildsys.cli.boundary import run

    run()


def _open_missing_streams() -> None:
    """Let what is written to a stream that the caller closed go nowhere: Python has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


if __name__ == "__main__":
    main()
