"""Skip what needs SPIN where it is not installed; in CI that is an error."""

import pytest

from tests.model import spin


@pytest.fixture(scope="module")
def _spin() -> None:
    if not spin.is_installed():
        pytest.skip(spin.MISSING)
