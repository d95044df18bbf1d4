"""The tests. They are not installed: ``trial tests`` runs those of the checkout."""

from hypothesis import HealthCheck, settings

# A busy machine may take longer for an example, or to draw one, than Hypothesis expects; and some
# test cases hold one property for many classes. The rest is as it was: in CI, Hypothesis draws the
# same examples each time. A test that names health checks of its own would lose these.
settings.register_profile(
    "busy machine",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("busy machine")
