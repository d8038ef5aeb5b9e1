"""The report of a run, opened in a real Chromium: it shows what a person asks for, and sends no request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headless_browser import NoBrowser, find_or_install
from tests.support.browser import Page, opened
from tests.support.report_runs import before, eventful, many
from tests.unit.report.html.test_page import NASTY, nasty, page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    try:
        browser = find_or_install()
    except NoBrowser as reason:
        # It is no engine: `--require-engine` says nothing of it.
        pytest.skip(str(reason))
    with opened(browser, tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def screen(chromium: Page) -> Page:
    chromium.ask("Emulation.setDeviceMetricsOverride", width=1360, height=900, deviceScaleFactor=1, mobile=False)
    chromium.ask("Emulation.setEmulatedMedia", media="", features=[])
    chromium.errors.clear()
    chromium.requests.clear()
    return chromium


@pytest.fixture
def report(screen: Page, tmp_path: Path) -> Page:
    """The page of a run of twelve targets: one failed, two were blocked and one was retried."""
    path = tmp_path / "report.html"
    path.write_text(page(eventful(), before()), encoding="utf-8")
    screen.open(path)
    assert screen.requests == [path.as_uri()]
    return screen


@pytest.fixture(autouse=True)
def _nothing_went_wrong(screen: Page) -> Iterator[None]:
    yield
    assert screen.errors == []
    assert [url for url in screen.requests if not url.startswith("file://")] == []


def test_what_goes_wrong_in_a_page_is_noticed(screen: Page, tmp_path: Path) -> None:
    path = tmp_path / "wrong.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>nowhere.at.all</script>", encoding="utf-8")
    screen.open(path)
    assert any("ReferenceError" in each for each in screen.errors)
    assert "http://127.0.0.1:9/x.png" in screen.requests
    screen.errors.clear()
    screen.requests.clear()


def panel(report: Page) -> str:
    return str(report.value("document.getElementById('details').hidden ? '' : details.innerText"))


def test_choosing_a_target_in_the_graph_shows_its_details(report: Page) -> None:
    assert panel(report) == ""
    report.click(".graph [data-target='ucx-1_9_0']")
    text = panel(report)
    for words in (
        "ucx 1.9.0 on debian 12",
        "failed",
        "layers/ucx/Dockerfile changed since the last key",
        "layers/ucx/Dockerfile:14",
        "configure: error: rdma/rdma_cma.h not found",
        "buildsys bake ucx-1_9_0",
        "toolchain 12",
        "openmpi4.1.4-rdma-debian12",
        "[build 2/3] RUN ./configure && make",
        "3.6 s",
    ):
        assert words in text
    kin = report.value("[...document.querySelectorAll('.box.kin')].map((it) => it.dataset.target).sort()")
    assert kin == ["gpu-rdma", "rdma", "toolchain-12", "ucx-1_9_0"]


@pytest.mark.parametrize("location", [".labels", ".bars", "#targets-table", ".graph"])
def test_a_target_can_be_chosen_wherever_it_is_shown(report: Page, location: str) -> None:
    report.click(f"{location} [data-target='debian-os-12']")
    text = panel(report)
    assert "debian-os 12" in text
    assert "registry said 503; retried after 4.0 s" in text
    assert "built, 0:34 (±0.0 s)" in text


def test_one_goes_from_target_to_target_and_back_by_keyboard_too(report: Page) -> None:
    report.click(".failure h3 button")
    report.click("#details .kin [data-target='rdma']")
    assert "BLOCKED BY" in panel(report).upper()
    assert report.value("decodeURIComponent(location.hash)") == "#target=rdma"
    report.press("Escape")
    assert panel(report) == ""
    assert report.value("document.activeElement.dataset.target") == "ucx-1_9_0"
    report.value("document.querySelector(\".graph [data-target='cpu']\").focus()")
    report.press("Enter")
    assert "openmpi-less-debian12" in panel(report)


def test_a_link_with_a_target_opens_its_details(report: Page) -> None:
    report.value("void (location.hash = '#target=cuda-12_4')")
    for _ in range(50):
        if "cuda-runtime 12.4 from wheels" in panel(report):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the details of the link's target were not shown")


def shown(report: Page) -> Any:
    rows = "[...document.querySelectorAll('#targets-table tbody tr')]"
    return report.value(f"{rows}.filter((it) => it.checkVisibility()).map((it) => it.cells[0].innerText)")


def test_targets_are_filtered_and_sorted(report: Page) -> None:
    assert len(shown(report)) == 12
    report.value("document.getElementById('filter').focus()")
    report.ask("Input.insertText", text="blocked rdma")
    assert shown(report) == ["openmpi4.1.4-rdma-debian12", "openmpi4.1.4-cuda12.4-rdma"]
    report.value("filter.value = ''; filter.dispatchEvent(new Event('input'))")
    report.click("#targets-table th:nth-child(6) button")
    assert shown(report)[:2] == ["openmpi 4.1.4 on debian 12", "cuda-runtime 12.4 from wheels"]
    report.click("#targets-table th:nth-child(1) button")
    assert shown(report)[0] == "cuda-runtime 12.4 from wheels"


def test_time_can_be_drawn_wider(report: Page) -> None:
    width = "document.querySelector('.timeline svg.bars').getBoundingClientRect().width"
    narrow = report.value(width)
    report.click("[data-zoom='4']")
    assert report.value(width) > 3 * narrow
    assert report.value("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1360, 400])
def test_failure_comes_first_and_its_deciding_line_is_seen_without_a_click(report: Page, width: int) -> None:
    report.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    assert report.value("scrollY") == 0
    assert report.value("document.querySelector('section, .outcomes, .tiles').id") == "failures"
    line = "document.querySelector('.deciding')"
    assert report.value(f"{line}.innerText") == "configure: error: rdma/rdma_cma.h not found"
    assert report.value(f"{line}.checkVisibility({{opacityProperty: true, visibilityProperty: true}})")
    box = report.value(
        f"(() => {{ const it = {line}.getBoundingClientRect(); return [it.top, it.bottom, it.right] }})()"
    )
    assert 0 <= box[0] < box[1] <= 900
    assert box[2] <= width
    output = "document.querySelector('.failure pre')"
    assert report.value(f"{output}.scrollHeight <= {output}.clientHeight + 1")


def images(report: Page) -> dict[str, str]:
    rows = "[...document.querySelectorAll('#images li')]"
    return dict(report.value(f"{rows}.map((it) => [it.querySelector('button').innerText, it.innerText])"))


def test_images_are_listed_with_references_digests_and_sizes(report: Page) -> None:
    found = images(report)
    assert len(found) == 5
    cpu = found["openmpi-less-debian12"]
    for words in ("built", "229 MB", "127.0.0.1:5000/ml/nodes@sha256:cpu", "sha256:cpu\n"):
        assert words in f"{cpu}\n"
    blocked = found["openmpi4.1.4-rdma-debian12"]
    assert "blocked" in blocked
    assert "sha256" not in blocked


COPY = "#images li:nth-child(2) .copy-it"
REFERENCE = "127.0.0.1:5000/ml/nodes@sha256:cpu-mpi"


def pasted(report: Page) -> str:
    """What a person gets who pastes into the field for filters."""
    report.value("(filter.value = '', filter.focus())")
    report.press("v", "paste")
    return str(report.value("filter.value"))


def label(report: Page, text: str) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if report.value(f"document.querySelector('{COPY}').innerText") == text:
            return True
        time.sleep(0.05)
    return False


def test_reference_is_copied_by_mouse_and_by_keyboard_from_a_page_in_a_folder(report: Page) -> None:
    assert report.value("location.protocol") == "file:"
    report.click(COPY)
    assert label(report, "copied")
    assert pasted(report) == REFERENCE
    assert label(report, "copy")
    report.click(".failure .copy-it")
    assert pasted(report) == "buildsys bake ucx-1_9_0"
    report.value(f"document.querySelector('{COPY}').focus()")
    report.press("Enter")
    assert label(report, "copied")
    assert pasted(report) == REFERENCE


def test_reference_that_the_browser_does_not_copy_is_chosen_for_the_reader(report: Page) -> None:
    report.value("void (document.execCommand = () => false)")
    report.value("void Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    report.click(COPY)
    assert label(report, "press Ctrl+C")
    assert report.value("getSelection().toString()") == REFERENCE


def test_page_without_its_script_has_no_dead_button_and_one_click_chooses_a_reference(
    screen: Page, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(eventful(), before()), encoding="utf-8")
    screen.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        screen.open(path)
        visible = "[...document.querySelectorAll('.copy-it')].filter((it) => it.checkVisibility()).length"
        assert screen.value(visible) == 0
        assert screen.value("document.querySelectorAll('.copy-it').length") > 5
        screen.click("#images li:nth-child(2) code")
        assert screen.value("getSelection().toString()").strip() == REFERENCE
        assert "configure: error: rdma/rdma_cma.h not found" in screen.value("document.body.innerText")
    finally:
        screen.ask("Emulation.setScriptExecutionDisabled", value=False)


def cells(report: Page, table: str) -> dict[str, list[str]]:
    """The rows of a table that is seen, by their first cell."""
    rows = f"[...document.querySelectorAll('{table} tbody tr')].filter((it) => it.checkVisibility())"
    found = report.value(f"{rows}.map((it) => [...it.cells].map((cell) => cell.innerText.trim()))")
    return {row[0]: row[1:] for row in found}


def test_sizes_are_shown_by_layer_and_by_node_system_nodes_too(report: Page) -> None:
    layers, nodes = cells(report, "#layer-sizes"), cells(report, "#node-sizes")
    assert layers["debian-os"][:4] == ["1", "3", "61 MB", "183 MB"]
    assert layers["git"][:4] == ["1", "3", "22 MB", "66 MB"]
    assert nodes["debian-os 12"] == ["debian-os", "109 MB", "250 MB", "5", "/usr/lib 130 MB, /usr/share 90 MB"]
    assert nodes["git on debian-os 12"] == ["git", "22 MB", "not known", "5", ""]


def test_what_was_saved_is_shown_with_the_images_that_share_a_node(report: Page) -> None:
    about = report.value("document.querySelector('#saved').innerText")
    assert "2 nodes were reused, which saved about 1:20 of building." in about
    shared = cells(report, "#shared-nodes")
    assert shared["openmpi 4.1.4 on debian 12"] == ["✓ built", "3", "1:58", "3:57"]
    assert shared["miniconda py312_24.9.2-0"][:2] == ["↺ reused", "3"]


def test_what_delayed_others_is_shown_with_the_critical_path(report: Page) -> None:
    path = report.value("[...document.querySelectorAll('.path button')].map((it) => it.innerText)")
    assert path == ["openmpi 4.1.4 on debian 12", "openmpi4.1.4-cuda12.4"]
    found = cells(report, "#delaying")
    assert next(iter(found)) == "openmpi 4.1.4 on debian 12"
    assert found["debian-os 12"][:3] == ["0:34", "1", "0:35"]
    report.click("#delaying [data-target='debian-os-12']")
    assert "parent debian:12 moved" in panel(report)


def test_page_of_long_names_is_readable_at_400_pixels(screen: Page, tmp_path: Path) -> None:
    long = "registry.example.com/" + "alongnamewithoutaspace" * 9
    path = tmp_path / "report.html"
    text = page(eventful(), before()).replace("openmpi4.1.4-rdma", long).replace("127.0.0.1:5000/ml/nodes", long)
    path.write_text(text.replace("configure: error: ", f"configure: error: {long}"), encoding="utf-8")
    screen.ask("Emulation.setDeviceMetricsOverride", width=400, height=900, deviceScaleFactor=1, mobile=False)
    screen.open(path)
    assert screen.value("document.documentElement.scrollWidth") <= 400
    # Only tables and pictures are wider, and these scroll by themselves.
    beyond = screen.value(
        "[...document.querySelectorAll('h1, h2, h3, p, dt, dd, li, code, button, b, small')]"
        ".filter((it) => !it.closest('.scroll, #details') && it.checkVisibility())"
        ".filter((it) => it.getBoundingClientRect().right > 400).map((it) => it.outerHTML.slice(0, 200))"
    )
    assert beyond == []
    small = screen.value(
        "[...document.querySelectorAll('main *')].filter((it) => it.checkVisibility() && it.innerText)"
        ".filter((it) => parseFloat(getComputedStyle(it).fontSize) < 11.5).length"
    )
    assert small == 0


@pytest.mark.parametrize("width", [360, 400, 800, 1360, 2200])
def test_the_page_is_never_wider_than_the_window(report: Page, width: int) -> None:
    report.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    assert report.value("document.documentElement.scrollWidth") <= width


def test_it_is_dark_where_the_reader_wants_that_and_light_on_paper(report: Page) -> None:
    ground = "getComputedStyle(document.querySelector('section')).backgroundColor"
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    light = report.value(ground)
    report.ask("Emulation.setEmulatedMedia", features=dark)
    assert report.value(ground) != light
    report.click(".graph [data-target='cpu']")
    report.ask("Emulation.setEmulatedMedia", media="print", features=dark)
    assert report.value(ground) == light
    assert report.value("details.checkVisibility()") is False
    assert report.value("document.querySelector('.failure pre').checkVisibility()") is True
    clipped = "[...document.querySelectorAll('.tall')].some((it) => it.scrollHeight > it.clientHeight + 1)"
    assert report.value(clipped) is False


def test_output_of_a_build_is_shown_as_text(screen: Page, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(nasty(), nasty()), encoding="utf-8")
    screen.open(path)
    screen.click(".box[role=button]")
    assert "</script><script>alert(1)</script>" in panel(screen)
    assert screen.value("document.querySelectorAll('img').length") == 0
    assert screen.value("document.querySelectorAll('script').length") == 2
    assert NASTY.partition("\x00")[0] in str(screen.value("document.querySelector('.command').innerText"))


def processor_seconds(screen: Page) -> float:
    """The processor time of scripts, styles and layout so far, which other work of the machine does not change."""
    found = {each["name"]: each["value"] for each in screen.ask("Performance.getMetrics")["metrics"]}
    return float(sum(found[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")))


def test_four_hundred_targets_are_shown_at_once(screen: Page, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(many(340), many(340)), encoding="utf-8")
    screen.ask("Performance.enable", timeDomain="threadTicks")
    start = processor_seconds(screen)
    screen.open(path)
    screen.click(".box[data-target='node-9']")
    assert "Needed by (39)" in panel(screen)
    used = processor_seconds(screen) - start
    screen.ask("Performance.disable")
    # Half a second; a script that looks at each pair of targets would take minutes.
    assert 0 < used < 10


def test_a_run_of_nothing_and_a_run_cut_off_are_pages_too(screen: Page, tmp_path: Path) -> None:
    for name, events in (("nothing", []), ("cut", eventful(ended=False))):
        path = tmp_path / f"{name}.html"
        path.write_text(page(events), encoding="utf-8")
        screen.open(path)
        assert screen.value("document.querySelector('h1').innerText")
