"""What tests of writing leads share."""

from tests.nobody import nobody  # noqa: F401 - a fixture
