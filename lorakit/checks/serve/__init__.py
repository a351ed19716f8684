"""Assignment 5, Serve: many tasks over one frozen model, what switching costs, somebody else's file, and latency."""

from lorakit.checks.serve.batch import check_mixed, check_storage
from lorakit.checks.serve.casting import check_survived
from lorakit.checks.serve.latency import check_latency
from lorakit.checks.serve.ledger import check_ledger
from lorakit.checks.serve.scale import check_scale
from lorakit.checks.serve.switching import check_drift, check_switch

__all__ = ["check_drift", "check_latency", "check_ledger", "check_mixed", "check_scale", "check_storage"]
__all__ += ["check_survived", "check_switch"]
