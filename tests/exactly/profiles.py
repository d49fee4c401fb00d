"""How many examples a run of the exact tests takes: `pytest --hypothesis-profile=deep` for long ones.

The default is derandomized, so that a run says the same of the same code; `deep` looks for what nobody has seen.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def register_profiles() -> None:
    """Name the profiles to hypothesis; call it before its plugin is configured (from the first conftest)."""
    # A stream is large and an example asks a real engine many questions: neither is a sign of a bad strategy here.
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    settings.register_profile(
        "default", derandomize=True, max_examples=10, deadline=None, suppress_health_check=slow, print_blob=True
    )
    settings.register_profile(
        "deep", derandomize=False, max_examples=1000, deadline=None, suppress_health_check=slow, print_blob=True
    )
