"""A number of things in words, in the singular or the plural, for messages of all sides."""


def counted(count: int, noun: str) -> str:
    """Return a count of something; `noun` is the singular.

    Example:
        >>> counted(1, "expert"), counted(2_000, "expert"), counted(0, "entry")
        ('1 expert', '2,000 experts', '0 entries')
    """
    plural = f"{noun.removesuffix('y')}ies" if noun == "entry" else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def counted_that(count: int, noun: str, verb: str = "are") -> str:
    """Return a count of something and what it does.

    Example:
        >>> counted_that(1, "expert"), counted_that(2, "unit", "have")
        ('1 expert is', '2 units have')
    """
    singular = {"are": "is", "have": "has"}
    return f"{counted(count, noun)} {singular[verb] if count == 1 else verb}"
