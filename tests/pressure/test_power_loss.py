"""Power cuts and failing disks in short; `make power-loss` is the long one.

The file system is mounted by FUSE: root, /dev/fuse and libfuse are needed. Without them these
tests are skipped, and fail where STAN_REQUIRE_FUSE is set.
"""

import importlib
import os

import pytest

if os.environ.get("STAN_REQUIRE_FUSE"):
    power_loss = importlib.import_module("tests.pressure.power_loss")
else:
    power_loss = pytest.importorskip(
        "tests.pressure.power_loss", reason="no libfuse", exc_type=(ImportError, OSError)
    )
    pytestmark = pytest.mark.skipif(
        os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="nothing may be mounted here"
    )


async def test_what_was_acked_survives_every_power_cut() -> None:
    findings = await power_loss.try_cuts("full", 3, seed=1)

    assert len(findings) == 3
    assert [finding for finding in findings if finding.lost or finding.others] == []


async def test_weaker_durability_is_seen_to_lose() -> None:
    """Else the test above would look at nothing."""
    findings = await power_loss.try_cuts("normal", 3, seed=1)

    assert any(finding.lost for finding in findings)


async def test_a_failing_disk_is_called_so_and_what_it_refused_is_not_stored() -> None:
    finding, promises, faults, output = await power_loss.try_faults(1000, seed=1)

    assert faults > 0
    assert promises.refused
    assert promises.acked
    assert (finding.lost, finding.others) == (0, [])
    assert "malformed" not in output
    assert not any("malformed" in refusal for refusal in promises.refused.values())
