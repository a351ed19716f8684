"""Assignment 4, Intrinsic rank: what counts the directions of ΔW, what chance gives, and a search for a dimension."""

from lorakit.checks.intrinsic_rank.chance import check_chance, check_disagree
from lorakit.checks.intrinsic_rank.counting import check_effective, check_energy, check_stable
from lorakit.checks.intrinsic_rank.searching import check_d90
from lorakit.checks.intrinsic_rank.subspace import check_descend, check_subspace

__all__ = ["check_chance", "check_d90", "check_descend", "check_disagree", "check_effective", "check_energy"]
__all__ += ["check_stable", "check_subspace"]
