"""The client, against answers that are made up."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ground import job_commands
from ground.client import SkyrackClient, UnreachableError, is_settled


def job(job_id: str, revision: int, **values: Any) -> dict[str, Any]:
    plain = {"job_id": job_id, "revision": revision, "state": "RUNNING", "satellite": "sat-1", "reason": ""}
    settled = {"is_final": False, "result_sha256": "", "result_problem": "", "result_received_seconds": None}
    return plain | settled | values


def test_who_waits_for_a_job_does_not_ask_again_and_again_because_of_others() -> None:
    asked: list[int] = []
    mine = job("mine", 3)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/jobs":
            return httpx.Response(200, json=mine)
        after = int(request.url.params["after_revision"])
        asked.append(after)
        if after >= 9:  # here a ground would let the client wait
            mine.update(revision=10, state="COMPLETED", is_final=True)
        return httpx.Response(200, json=[job("another", 9), mine])

    with SkyrackClient("http://ground", httpx.MockTransport(answer)) as client:
        (record,) = job_commands._wait(client, ["mine"], show=False)
    assert record["state"] == "COMPLETED"
    assert asked == [3, 9]


def test_a_job_is_settled_when_nothing_more_will_come() -> None:
    assert not is_settled(job("a", 1))
    assert is_settled(job("a", 1, is_final=True))
    assert not is_settled(job("a", 1, is_final=True, result_sha256="ab"))
    assert is_settled(job("a", 1, is_final=True, result_sha256="ab", result_received_seconds=5.0))
    assert is_settled(job("a", 1, is_final=True, result_sha256="ab", result_problem="it was damaged"))


@pytest.mark.parametrize("body", ["<html>hello</html>", ""])
def test_what_answers_and_is_no_ground_is_said_in_a_sentence(body: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    with (
        SkyrackClient("http://elsewhere", transport) as client,
        pytest.raises(UnreachableError, match="what answers at http://elsewhere is no ground"),
    ):
        client.satellites()


def test_a_refusal_that_is_no_problem_detail_is_shown() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(418, text=json.dumps("teapot")))
    with (
        SkyrackClient("http://elsewhere", transport) as client,
        pytest.raises(Exception, match="the ground answered 418"),
    ):
        client.satellites()
