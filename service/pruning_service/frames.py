"""Errors without the frames that they went through.

A traceback holds every frame on an error's way, and so the header, the plan and the buffers of a call that has failed;
and a frame that has its error in a variable closes a circle that stands until Python's next full collection. Calls that
are refused one after the other would pile up models that no reservation counts.
"""


def drop_tracebacks(error: BaseException | None) -> None:
    """Take the traceback out of an error, and out of every one that it came from."""
    left = [error]
    seen = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            left += [one.__cause__, one.__context__]
