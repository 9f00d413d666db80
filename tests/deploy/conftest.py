"""What the tests of deploy/ share with the end-to-end tests."""

from tests.e2e.conftest import local_system

__all__ = ["local_system"]
