"""The tests. They are not installed: ``trial tests`` runs those of the checkout."""

from hypothesis import HealthCheck, settings

# A busy machine may take longer for an example, or to draw one, than Hypothesis expects. The rest
# is as it was: in CI, Hypothesis draws the same examples each time.
settings.register_profile(
    "busy machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")
