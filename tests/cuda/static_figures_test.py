"""The kernels' machine code keeps within its limits, and the check would notice."""

import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import static_figures  # noqa: E402


@pytest.mark.parametrize("arch", static_figures.LIMITS)
def test_kernels_keep_within_their_limits(arch):
    assert list(static_figures.breaches(arch, static_figures.compile_for(arch))) == []


def test_unoptimised_kernels_are_noticed():
    found = "\n".join(static_figures.breaches("80", static_figures.compile_for("80", "-Xptxas=-O0")))
    assert "Attention<576,512,64,latent>: spilled" in found
    assert "Attention<576,512,64,latent>: STL" in found


def test_products_that_wait_for_each_other_are_noticed():
    found = "\n".join(static_figures.breaches("90a", static_figures.compile_for("90a", "-Xptxas=-O0")))
    assert "HopperAttention<576,512>: serialized" in found


def test_a_block_fits_where_its_memory_does():
    assert static_figures.blocks_that_fit("90a", "Attention<576,512,16,latent>", 186) == 2
    assert static_figures.blocks_that_fit("80", "Attention<576,512,16,latent>", 180) == 1
    assert static_figures.blocks_that_fit("120", "Attention<576,512,64,latent>", 255) == 0
