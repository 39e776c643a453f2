"""What every refusal has, whatever was refused."""


def check_refusal(reason: str | None, message: str, named: str = "") -> None:
    """Check that a refusal has a reason and a message, which names what was read. Raises: AssertionError."""
    assert reason, f"a refusal without a reason: {message}"
    assert message, f"a refusal without a word: {reason}"
    assert named in message, f"a refusal that does not name {named}: {message}"
