from __future__ import annotations

from meshwalk.model import SimulatedSpec
from meshwalk.model.pricing import short, version_of
from tests.support.plans import plan_of


def graph_of(little: str, great: str = "") -> dict[str, SimulatedSpec]:
    """
    Read two backends with these prices.
    """
    plan = plan_of(
        f"""
        meshwalk: 1
        name: priced
        start: only
        backends:
          little: {{kind: simulated{little}}}
          great: {{kind: simulated{great}}}
        nodes:
          only:
            role: answer
            backend: little
            confidence: {{from: recorded}}
            next: [{{to: done, when: "output.confidence > 0.5"}}, {{to: other}}]
          other: {{role: primary, backend: great, next: done}}
        """
    )

    return {name: spec for name, spec in plan.graph.backends.items() if isinstance(spec, SimulatedSpec)}


ONE = ", usd_per_mtok: {input: 1, output: 2}"
OTHER = ", usd_per_mtok: {input: 1, output: 3}"


class TestVersionOf:
    def test_no_price_has_no_version(self) -> None:
        """
        Backends of which none has a price have no version of prices.
        """
        assert "" == version_of(graph_of(""))

    def test_same_prices_have_one_version(self) -> None:
        """
        The order of backends, and one without a price, make no other version.
        """
        backends = graph_of(ONE, OTHER)

        assert version_of(backends) == version_of(dict(reversed(backends.items())))
        assert version_of(graph_of(ONE)) == version_of({"little": backends["little"]})

    def test_another_price_makes_another_version(self) -> None:
        """
        A price that changes, or changes its place, changes the version.
        """
        versions = {version_of(graph_of(*prices)) for prices in ((ONE, ""), ("", ONE), (OTHER, ""), (ONE, OTHER), (OTHER, ONE))}

        assert 5 == len(versions)

    def test_short_name(self) -> None:
        """
        A version is named by the first twelve digits.
        """
        assert "sha256:0123456789ab" == short("0123456789abcdef" * 4)
