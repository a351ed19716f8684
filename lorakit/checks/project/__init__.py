"""Assignment 6, Project: what stands between a number and a claim. Leaks, intervals, chance, seeds, and a checklist."""

from lorakit.checks.project.chances import check_beyond
from lorakit.checks.project.claims import check_claims
from lorakit.checks.project.numbers import check_interval
from lorakit.checks.project.pairs import check_paired
from lorakit.checks.project.rows import check_leak

__all__ = ["check_beyond", "check_claims", "check_interval", "check_leak", "check_paired"]
