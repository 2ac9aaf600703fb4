"""What is kept of a reply comes again as it was."""

from __future__ import annotations

import pytest

from jackfield import CallError, Detail, Json
from jackfield_idempotency.records import Outcome, error_of, failed, result_of, succeeded


@pytest.mark.parametrize(
    "result",
    [
        Json(b"null"),
        Json(b'"1 2\\n"'),
        Json(b'[{"_placeholder":true,"num":0}]', (b"",)),
        Json(b'[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', (b"1 2\n3", b"\x00\xff")),
    ],
)
def test_a_result(result):
    """To the byte."""
    assert result_of(succeeded(result, 1000)) == result


def test_a_result_that_is_too_large():
    """Its Buffers count."""
    assert succeeded(Json(b"12345", (b"678",)), 8).state == "succeeded"
    assert succeeded(Json(b"12345", (b"6789",)), 8) == Outcome("large")


def test_an_error():
    """With all that was told of it."""
    detail = Detail(path=["a", 0], type="é", message="no")
    error = CallError("not_found", "no\ud7ff", details=[detail], retry_after=5, error_id="x")
    assert error_of(failed(error)).as_dict() == error.as_dict()
    assert error_of(failed(CallError("aborted", ""))).as_dict() == {"code": "aborted", "message": ""}
