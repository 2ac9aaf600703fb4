"""What is answered in the place of the function; each message is for the caller."""

from __future__ import annotations

from jackfield import CallError, Code


class Away(CallError):
    """The store cannot be used now; a later try can succeed."""

    def __init__(self) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            "Idempotency-keys cannot be looked up now, so the call was not begun: try again with the same key.",
            retry_after=1000,
        )


def stream() -> CallError:
    """Return the refusal of a key for what is never done once."""
    return CallError(
        Code.INVALID_ARGUMENT, "An idempotency-key is for calls with one argument and one result; this is a stream."
    )


def bad_key(longest: int) -> CallError:
    """Return the refusal of a key that is none."""
    return CallError(Code.INVALID_ARGUMENT, f"An idempotency-key has 1 to {longest} printable characters.")


def short_key(shortest: int) -> CallError:
    """Return the refusal of a key that somebody else may have, too."""
    return CallError(
        Code.INVALID_ARGUMENT,
        f"Nobody has said who you are, so your idempotency-key has to be one that nobody else has: at least {shortest} "
        "characters, such as a random UUID.",
    )


def other_data() -> CallError:
    """Return the refusal of a key that another call has."""
    return CallError(
        Code.INVALID_ARGUMENT,
        "A call with this idempotency-key was made with other data: a new call takes a new key.",
    )


def too_many(limit: int) -> CallError:
    """Return the refusal of one key more."""
    return CallError(
        Code.RESOURCE_EXHAUSTED,
        f"{limit:,} of your idempotency-keys are kept, and there may be no more (plugins.idempotency.max_keys); each "
        "is forgotten after a time.",
    )


def unknown() -> CallError:
    """Return what is said of a call that was begun, and of which nobody knows how it ended."""
    return CallError(
        Code.ABORTED,
        "The call with this idempotency-key was begun and cut short, so nobody knows whether it was done; it is not "
        "done again. Look what has become of it before you call with another key.",
    )


def not_kept(limit: int) -> CallError:
    """Return what is said of a call that was done, and whose result is gone."""
    return CallError(
        Code.FAILED_PRECONDITION,
        f"The call with this idempotency-key was done; its result had more than {limit:,} bytes and was not kept "
        "(plugins.idempotency.max_result).",
    )
