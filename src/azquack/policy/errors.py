"""Why the policy says no. Both end as a `Verdict`; neither leaves the package."""


class Refused(Exception):
    """The statement asks for what the principal may not do; `str()` is the sentence for the user."""


class Unclear(Refused):
    """The policy cannot tell with certainty what the statement does, so it is refused."""


class Unparsed(Refused):
    """DuckDB cannot parse the text; `str()` is DuckDB's own message with the place, as a stock server sends it."""
