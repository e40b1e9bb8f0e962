"""A rig with a connected client, for the tests that need nothing special."""

import pytest

from tests.tools.rig import Rig


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    assert rig.connect().error == ""
    return rig
