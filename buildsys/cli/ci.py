"""What a CI service gets of a command: annotations of errors at their lines, and a job summary in Markdown."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildsys.cli import usage
from buildsys.errors import BuildsysError
from buildsys.values import dataclass

if TYPE_CHECKING:
    from buildsys.events.model import RunModel
    from buildsys.image_tests.suite import ImageResult
    from buildsys.masks import Mask
    from buildsys.plan.plan import Plan
    from buildsys.report.github import Annotation

SERVICES = ("github",)
Annotations = Annotated[
    str | None,
    typer.Option(
        "--annotations",
        parser=usage.choice("--annotations", SERVICES),
        metavar="|".join(SERVICES),
        help="Also print each error as an annotation, which the service shows at the line of the file.",
    ),
]
Summary = Annotated[
    Path | None,
    typer.Option(
        "--summary",
        envvar="GITHUB_STEP_SUMMARY",
        parser=usage.file("--summary"),
        metavar="FILE",
        help="Append a summary in Markdown to this file.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What one command reports to the service that runs it, `folder` is the project's path in the repository."""

    root: Path
    mask: "Mask"
    command: str
    annotates: bool
    summary: Path | None

    def report_run(self, run: "RunModel", plan: "Plan") -> None:
        """Print and append how a run ended."""
        if self.annotates:
            from buildsys.report import github

            _print(github.of_run(run, lambda *found: _place(self.root, plan, *found)), self.root)
        if self.summary:
            from buildsys.report.markdown import run_summary

            self._append(run_summary(run, self.command))

    def report_tests(self, results: "Sequence[ImageResult]") -> None:
        """Print and append which tests failed."""
        if self.annotates:
            from buildsys.report import github

            _print(github.of_tests(results, self.mask.text), self.root)
        if self.summary:
            from buildsys.report.markdown import summary_of_tests

            self._append(summary_of_tests(results, self.command))

    def _append(self, text: str) -> None:
        """Append to the summary; one that cannot be written changes nothing else."""
        assert self.summary
        try:
            with self.summary.open("a", encoding="utf-8") as file:
                file.write(self.mask.text(text))
        except OSError as error:
            from buildsys.cli.screens import diagnostics

            diagnostics().line(f"warning: the summary `{self.summary}` is not written: {error.strerror}")


def job(root: Path, environ: Mapping[str, str], annotations: str | None, summary: Path | None) -> Job:
    """Return what a command reports; `environ` has the values of secrets."""
    from buildsys.cli.options import command_line
    from buildsys.project.settings import mask_of

    return Job(
        root=root,
        mask=mask_of(root, environ),
        command=command_line(),
        annotates=annotations is not None,
        summary=summary,
    )


@contextmanager
def annotated(context: typer.Context, annotations: str | None) -> Iterator[None]:
    """Print what ends a command as annotations too, before it is reported as always."""
    try:
        yield
    except BuildsysError as error:
        if annotations:
            from buildsys.project.settings import mask_near
            from buildsys.project.workspace import find_workspace
            from buildsys.report import github

            root = Path()
            with suppress(BuildsysError):
                root = find_workspace(context.obj).root
            _print(github.of_error(error, mask_near(context.obj, os.environ).text), root)
        raise


def _print(found: "Iterable[Annotation]", root: Path) -> None:
    from buildsys.report.github import command

    # The runner knows files by their path below the checkout.
    top = Path(os.environ.get("GITHUB_WORKSPACE") or root).resolve()
    folder = root.resolve().relative_to(top).as_posix() if root.resolve().is_relative_to(top) else ""
    for each in found:
        # Not over a screen, which writes commands of a runner so that it reads none.
        sys.stdout.write(command(each, folder) + "\n")
    sys.stdout.flush()


def _place(root: Path, plan: "Plan", name: str, file: str, line: int) -> tuple[str, int]:
    """Return where a failure is shown: the Dockerfile of a node, and for an image, which has none, its stack."""
    from buildsys.project.files import is_there
    from buildsys.resolve.node import ImageTarget

    target = plan.targets.get(name)
    if isinstance(target, ImageTarget) and target.location:
        return target.location.file, target.location.line
    return (file, line) if file and is_there(root / file) else ("", 0)
