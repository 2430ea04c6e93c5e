"""What tests of hooks share."""

from tests.nobody import nobody  # noqa: F401 - a fixture
