"""What visitors send that must reach the tenant unchanged, and the fields that are the proxy's to write."""

from tests.conformance.case import Case

CASES: tuple[Case, ...] = ()
