"""How much hypothesis tries: the same everywhere, and without a clock, since this machine may be shared.

No file of examples is written: a failure prints the blob that reproduces it.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "verge",
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
settings.load_profile("verge")
