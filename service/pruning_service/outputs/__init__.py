"""One file per way in which a result leaves."""
