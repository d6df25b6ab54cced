"""The console in a real browser, over a real ground process: what people do with it."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from skyrack.orbits import propagate, satellite_satrec
from skyrack.satellite import load_constellation
from skyrack.v1 import (
    compute_pb2,
    executive_pb2,
    gateway_pb2,
    job_pb2,
    navigation_pb2,
    power_pb2,
    thermal_pb2,
)

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

RATE = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MILLISECONDS = 20_000


def reporting(base: type[Any]) -> type[Any]:
    """A satellite that says where it is and how it does, and obeys a cancellation."""
    constellation, _ = load_constellation(Path(__file__).parents[2] / "deploy/constellations/demo.toml")

    class Reporting(base):  # type: ignore[misc]
        async def _housekeep(self) -> None:
            satrec = satellite_satrec(constellation, self.name)
            while True:
                now = self.clock.now()
                r, v = propagate(satrec, now)
                ahead = [power_pb2.BudgetSlice(start_seconds=now, watts=900.0)]
                charge = 0.4 if self.name == "sat-2" else 0.8
                await self.telemetry(
                    navigation_pb2.OrbitState(
                        mission_time_seconds=now,
                        position_meters=navigation_pb2.Vector3(x=r[0], y=r[1], z=r[2]),
                        velocity_meters_per_second=navigation_pb2.Vector3(x=v[0], y=v[1], z=v[2]),
                        sunlit_ratio=1.0,
                    ),
                    power_pb2.PowerStatus(mission_time_seconds=now, state_of_charge_ratio=charge),
                    power_pb2.PowerBudget(end_seconds=now + 6000, compute=ahead, compute_now_watts=900.0),
                    thermal_pb2.ThermalBudget(end_seconds=now + 6000, compute=ahead, compute_now_watts=900.0),
                    thermal_pb2.ThermalStatus(mission_time_seconds=now, chip_maximum_celsius=41.0),
                    compute_pb2.ComputeStatus(mission_time_seconds=now, free_nodes=2, draw_watts=300.0),
                    executive_pb2.SatelliteStatus(mission_time_seconds=now, mode=executive_pb2.MODE_NOMINAL),
                    gateway_pb2.LinkStatus(mission_time_seconds=now, connected=True, link="optical"),
                )
                await self.clock.sleep(10)

        def _take_order(self, order: Any) -> None:
            super()._take_order(order)
            if order.WhichOneof("kind") == "job_cancel":
                placement = next(p for p in self.placements if p.spec.job_id == order.job_cancel.job_id)
                self._start(self.status(placement, 3, job_pb2.JOB_STATE_CANCELLED, reason="as asked"))

    return Reporting


class _Kit:
    """The kit of the other tests, with satellites that report."""

    def __init__(self, kit: Any) -> None:
        self._kit = kit
        self.satellite = reporting(kit.satellite)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kit, name)


@pytest.fixture(scope="module")
def station(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Broker, ground and satellites, for all tests of this file."""
    loaded = importlib.util.spec_from_file_location("console_station", Path(__file__).with_name("station.py"))
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    made = module.Station(tmp_path_factory.mktemp("console"), _Kit(kit), "amqtt", RATE)
    try:
        made.start_broker()
        made.start_ground()
        made.start_satellites()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def address(station: Any) -> dict[str, str]:
    """URL and local token of the ground."""
    return dict(json.loads((station.home / "ground.json").read_text()))


@pytest.fixture(scope="module")
def browser(requires_tool: Callable[[str], str]) -> Iterator[Any]:
    program = requires_tool("chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any, address: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Open a page as somebody; at the end the browser must have had nothing to complain of, and no far call to make."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def complain(said: Any) -> None:
        if said.type in ("error", "warning"):
            complaints.append(said.text)

    def open_page(path: str = "", *, token: str = "", phone: bool = False, **options: Any) -> Any:
        size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 860}
        context = browser.new_context(viewport=size, **options)
        context.set_default_timeout(WAIT_MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address['url']}/?token={token or address['token']}")
        page.wait_for_selector(".sr-map .satellite")
        if path:
            page.goto(f"{address['url']}/console/{path}")
        return page

    expect.set_options(timeout=WAIT_MILLISECONDS)
    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert {urlsplit(url).hostname for url in asked} <= {"127.0.0.1", None}, "a request left the machine"


def submit_example(page: Any, name: str = "digits-training") -> None:
    page.get_by_role("button", name="Submit a job").click()
    page.locator(f"[data-example={name}]").click()
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/console/jobs/*")


def test_a_person_signs_in_by_the_address_and_sees_the_constellation(visit: Any, station: Any) -> None:
    page = visit()
    assert "token" not in page.url
    table = page.get_by_role("table", name="Satellites")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table).to_contain_text("80 %")
    expect(table).to_contain_text("300 W / 900 W")
    expect(page.locator(".sr-map .satellite")).to_have_count(2)
    expect(page.locator(".sr-map .night")).to_have_attribute("d", re.compile("^M0"))
    expect(page.locator(".sr-top .link")).to_contain_text("2 of 2 in contact")
    clock = page.locator(".sr-top .time b")
    before = clock.inner_text()
    expect(clock).not_to_have_text(before)
    mark = page.locator(".sr-map .satellite").first
    at = mark.get_attribute("transform") or ""
    expect(mark).not_to_have_attribute("transform", at)
    assert not (station.directory / ".nicegui").exists()


def test_a_job_is_submitted_watched_and_fetched_by_keyboard_alone(visit: Any, station: Any) -> None:
    page = visit()
    page.keyboard.press("n")
    expect(page.locator(".sr-dialog h1")).to_have_text("Submit a job")
    expect(page.locator(".q-dialog__inner")).to_be_focused()  # it takes the keys once it has opened
    for _ in range(12):
        if page.evaluate("document.activeElement.dataset.example") == "file-identification":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".sr-good")).to_contain_text("file-identification is ready to go")
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/jobs/*")
    state = page.locator(".sr-head .state")
    expect(state).to_have_text("completed")
    expect(page.locator(".sr-life .steps")).to_contain_text("RUNNING")
    link = page.get_by_role("link", name="Download result")
    expect(link).to_be_visible()
    link.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert Path(download.value.path()).read_bytes() == station.satellites["sat-1"].result
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/console/jobs")
    row = page.get_by_role("row").filter(has_text="file-identification").first
    row.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/jobs/*")


def test_a_running_job_is_cancelled(visit: Any) -> None:
    page = visit("jobs")
    submit_example(page)
    expect(page.locator(".sr-head .state")).to_have_text("running")
    page.get_by_role("button", name="Cancel job").click()
    page.locator(".sr-dialog").get_by_role("button", name="Cancel job").click()
    expect(page.locator(".sr-head .state")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel job")).to_be_hidden()
    page.get_by_role("link", name="‹ Jobs").click()  # noqa: RUF001 - as it stands there
    page.get_by_role("button", name=re.compile("^Ended otherwise")).click()
    expect(page.get_by_role("table", name="Jobs")).to_contain_text("cancelled")
    page.get_by_placeholder("Search jobs").fill("no such job")
    expect(page.locator(".sr-empty").first).to_contain_text("skyrack submit")


JOB = """
name = "uploaded"
command = ["python3", "work.py"]
[resources]
power_watts = 200
expected = "2 min"
"""


def tar_of(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"mine/{name.replace('_', '.')}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def test_a_job_folder_is_uploaded_and_what_is_wrong_with_it_is_said(visit: Any) -> None:
    page = visit()
    page.get_by_role("button", name="Submit a job").click()
    chooser = page.locator("input[type=file]").first

    def upload(content: bytes) -> None:
        chooser.set_input_files([{"name": "job.tar", "mimeType": "application/x-tar", "buffer": content}])

    upload(tar_of(job_toml=JOB.replace("200", "-1"), work_py="print()"))
    expect(page.locator(".sr-problem")).to_contain_text("power_watts")
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_disabled()
    upload(tar_of(work_py="print()"))
    expect(page.locator(".sr-problem")).to_contain_text("there is no job.toml in it")
    upload(tar_of(job_toml=JOB, work_py="print()"))
    expect(page.locator(".sr-good")).to_contain_text("uploaded is ready to go: python3 work.py")
    page.locator("[name=priority]").fill("70")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/console/jobs/*")
    expect(page.get_by_role("heading", name="uploaded")).to_be_visible()
    expect(page.locator(".sr-cols .sr-facts").first).to_contain_text("70")
    expect(page.locator(".sr-head .state")).to_have_text("completed")


def test_a_job_of_some_size_is_uploaded(visit: Any) -> None:
    page = visit()
    page.get_by_role("button", name="Submit a job").click()
    content = tar_of(job_toml=JOB + "\n", work_py="#" * (3 << 20))
    job = {"name": "job.tar", "mimeType": "application/x-tar", "buffer": content}
    page.locator("input[type=file]").first.set_input_files([job])
    expect(page.locator(".sr-good")).to_contain_text("uploaded is ready to go")


def test_a_page_that_is_open_ends_with_its_token(browser: Any, address: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {address['token']}"}
    context = browser.new_context()
    with httpx.Client(base_url=address["url"], headers=headers, trust_env=False, timeout=60) as admin:
        made = admin.post("/v1/tokens", json={"name": "gone", "role": "operator"}).raise_for_status().json()
        page = context.new_page()
        page.goto(f"{address['url']}/?token={made['secret']}")
        page.wait_for_selector(".sr-map .satellite")
        admin.delete(f"/v1/tokens/{made['token']['token_id']}").raise_for_status()
        expect(page.locator("form[action='/login']")).to_be_visible(timeout=WAIT_MILLISECONDS)
    context.close()


def test_an_alarm_is_acknowledged_and_shelved(visit: Any) -> None:
    page = visit()
    page.locator(".sr-top .alarms").click()
    page.wait_for_url("**/console/events")
    table = page.get_by_role("table", name="Alarms")
    first = table.get_by_role("row").filter(has_text="sat-2").filter(has_text="PowerStatus").first
    row = table.locator(f"tr[data-key='{first.get_attribute('data-key')}']")
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_contain_text("acknowledged")
    expect(row).to_contain_text("seen by")
    row.get_by_role("button", name="Shelve").click()
    page.locator("[name=reason]").fill("a test of the battery")
    page.get_by_role("button", name="Shelve", exact=True).click()
    expect(row).to_contain_text("shelved by")
    expect(row).to_contain_text("a test of the battery")
    row.get_by_role("button", name="Unshelve").click()
    expect(row).to_contain_text("acknowledged")


def test_a_command_is_sent_with_a_form_of_the_dictionary(visit: Any, station: Any) -> None:
    page = visit("satellites/sat-1")
    page.get_by_role("link", name="Send a command").click()
    page.wait_for_url("**/console/commands?satellite=sat-1")
    page.locator("select[name=command]").select_option("SetPump")
    expect(page.locator("form.sr-stack")).to_contain_text("caution")
    duty = page.locator("[name=duty_ratio]")
    expect(page.locator("form.sr-stack")).to_contain_text("0 to 1")
    duty.fill("7")
    page.locator("[name=hold_seconds]").fill("600")
    page.get_by_role("button", name="Send", exact=True).click()
    assert not duty.evaluate("field => field.validity.valid")
    duty.fill("0.5")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".sr-good")).to_contain_text("SetPump is on its way to sat-1")
    row = page.get_by_role("table", name="Commands").get_by_role("row").filter(has_text="SetPump")
    expect(row.locator(".stages")).to_contain_text("completed")
    assert [command.method for command in station.satellites["sat-1"].commands if command.method == "SetPump"]
    row.get_by_role("link").click()
    expect(page.get_by_role("table", name="Stages")).to_contain_text("accepted")


def test_a_critical_command_waits_for_a_second_person(visit: Any, station: Any) -> None:
    page = visit("commands?satellite=sat-1")
    page.locator("select[name=command]").select_option("SetMode")
    expect(page.locator("form.sr-stack .sr-problem")).to_contain_text("two people")
    page.locator("select[name=mode]").select_option("safe")
    page.get_by_role("button", name="Send", exact=True).click()
    row = page.get_by_role("table", name="Commands").get_by_role("row").filter(has_text="SetMode")
    expect(row).to_contain_text("needs signature")
    row.get_by_role("link").click()
    expect(page.locator(".sr-warn")).to_contain_text("second operator")
    page.get_by_role("button", name="Withdraw").click()
    page.locator(".sr-dialog").get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("table", name="Stages")).to_contain_text("withdrawn")
    assert not [command for command in station.satellites["sat-1"].commands if command.method == "SetMode"]


def test_a_queue_is_held_and_released(visit: Any, station: Any) -> None:
    page = visit("commands?satellite=sat-1")
    queue = page.get_by_role("table", name="Queues").get_by_role("row").filter(has_text="sat-1")
    queue.get_by_role("button", name="Hold").click()
    page.locator("[name=reason]").fill("a look at the pump")
    page.locator(".sr-dialog").get_by_role("button", name="Hold").click()
    expect(queue).to_contain_text("held")
    expect(queue).to_contain_text("a look at the pump")
    page.locator("select[name=command]").select_option("SetDrain")
    page.locator("select[name=draining]").select_option("true")
    page.get_by_role("button", name="Send", exact=True).click()
    row = page.get_by_role("table", name="Commands").get_by_role("row").filter(has_text="SetDrain").first
    expect(row.locator(".stages")).to_contain_text("held")
    expect(queue).to_contain_text("1 waits")
    assert not [command for command in station.satellites["sat-1"].commands if command.method == "SetDrain"]
    queue.get_by_role("button", name="Release").click()
    expect(row.locator(".stages")).to_contain_text("completed")
    expect(queue).to_contain_text("nothing waits")


SEQUENCE = """
name = "gentle"
[[steps]]
command = "SetPump"
arguments = { duty_ratio = 0.4, hold_seconds = 60 }
[[steps]]
command = "SetMode"
arguments = { mode = "safe" }
after = "2 min"
"""


def test_a_sequence_is_checked_run_and_aborted(visit: Any) -> None:
    page = visit("commands")
    page.get_by_role("button", name="Run a sequence").click()
    run = page.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_disabled()
    page.locator("[data-example=node-power-cycle]").click()
    expect(page.locator(".sr-good")).to_contain_text("node-power-cycle is ready to run, 4 steps")
    place = page.locator("textarea[name=sequence]")
    place.fill(SEQUENCE.replace("0.4", "7"))
    expect(page.locator(".sr-dialog .sr-problem")).to_contain_text("step 1: SetPump: duty_ratio is 7")
    expect(run).to_be_disabled()
    file = {"name": "gentle.toml", "mimeType": "application/toml", "buffer": SEQUENCE.encode()}
    page.locator(".sr-dialog input[type=file]").set_input_files([file])
    expect(page.locator(".sr-good")).to_contain_text("gentle is ready to run, 2 steps")
    expect(page.locator(".sr-dialog .sr-problem")).to_contain_text("signatures of two people")
    run.click()
    page.wait_for_url("**/console/sequences/gentle-*")
    expect(page.locator(".sr-head .state")).to_have_text("needs signature")
    expect(page.locator(".sr-warn")).to_contain_text("skyrack approve gentle-")
    expect(page.locator("nav a[aria-current]")).to_have_text("Commands")
    expect(page.get_by_role("table", name="Steps").get_by_role("row").filter(has_text="after 2 min")).to_have_count(1)
    page.get_by_role("button", name="Abort").click()
    page.locator("[name=reason]").fill("only a test")
    page.locator(".sr-dialog").get_by_role("button", name="Abort").click()
    expect(page.locator(".sr-head .state")).to_have_text("withdrawn")
    expect(page.get_by_role("button", name="Abort")).to_be_hidden()
    page.get_by_role("link", name="‹ Commands").click()  # noqa: RUF001 - as it stands there
    expect(page.get_by_role("table", name="Sequences")).to_contain_text("gentle")


def test_who_may_only_look_sees_why_a_button_is_off(visit: Any, address: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {address['token']}"}
    body = {"name": "a guest", "role": "viewer"}
    made = httpx.post(f"{address['url']}/v1/tokens", json=body, headers=headers, trust_env=False).json()
    page = visit(token=made["secret"])
    button = page.get_by_role("button", name="Submit a job")
    expect(button).to_be_disabled()
    expect(button).to_have_attribute("title", "This needs the role researcher; you are viewer.")
    page.keyboard.press("n")
    expect(page.locator(".q-notification")).to_contain_text("This needs the role researcher")


def test_keys_help_and_themes(visit: Any) -> None:
    page = visit(color_scheme="light")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("submit a job")
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    page.wait_for_selector(".sr-map .satellite")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/console/satellites")
    page.get_by_role("row").filter(has_text="sat-1").focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/satellites/sat-2")
    expect(page.locator(".sr-plot path.series").first).to_have_attribute("d", re.compile("^M"))
    page.get_by_placeholder("Search fields").fill("state_of_charge")
    expect(page.get_by_role("table", name="Telemetry")).to_contain_text("40 %")


def test_a_phone_shows_every_page_without_scrolling_sideways(visit: Any) -> None:
    page = visit(phone=True, is_mobile=True, has_touch=True)
    for place in ("", "satellites", "satellites/sat-1", "jobs", "commands", "events"):
        page.evaluate(f"document.querySelector('nav a[data-place=\"{place.split('/')[0]}\"]').click()")
        if "/" in place:
            page.get_by_role("link", name="sat-1").first.click()
        page.wait_for_url(f"**/console/{place}")
        page.wait_for_selector(".sr-panel")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"/{place} is {wide} px too wide"


def test_what_is_not_there_is_said_in_a_sentence(visit: Any) -> None:
    page = visit("jobs/nothing")
    expect(page.locator(".sr-problem")).to_contain_text("there is no job nothing")
    page = visit("satellites/nobody")
    expect(page.locator(".sr-problem")).to_contain_text("The constellation has sat-1, sat-2")


def test_a_ground_that_does_not_show_the_console_does_not_load_it() -> None:
    program = "import sys, ground.main; sys.exit('nicegui' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
