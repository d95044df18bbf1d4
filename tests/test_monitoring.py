"""The alerts, the dashboards and the documents name metrics that exist."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.web.admin.test_metrics import EXPECTED
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import REASONS
from twisted_net.web.admin.site import AdminResource

DOCS = Path(__file__).resolve().parent.parent / "docs"

NAME = re.compile(r"twisted_net_([a-z_]+)")
_SUFFIX = re.compile(r"_(?:total|bucket|sum|count)$")


def known(name: str) -> bool:
    """Return whether a metric has this name, without the prefix."""
    return name in EXPECTED or _SUFFIX.sub("", name) in EXPECTED


class MonitoringTests(SynchronousTestCase):
    def test_alerts(self) -> None:
        """Every alert asks for metrics and reasons that exist."""
        text = (DOCS / "monitoring/alerts.yml").read_text()
        names = set(NAME.findall(text))
        self.assertGreater(len(names), 5)
        self.assertEqual([name for name in names if not known(name)], [])
        refusals = set(Admission(AdmissionRules()).refused)
        for metric, values in re.findall(r"connections_(\w+)_total\{reason=~?\"([^\"]+)\"", text):
            for reason in values.split("|"):
                self.assertIn(reason, REASONS if metric == "ended" else refusals)

    def test_each_alert_has_a_section(self) -> None:
        """``alerts.rst`` says what to do at each alert, in their order; each names its section."""
        text = (DOCS / "monitoring/alerts.yml").read_text()
        alerts = re.findall(r"- alert: (\w+)", text)
        self.assertGreater(len(alerts), 5)
        runbooks = re.findall(r'runbook: "(.*)"', text)
        self.assertEqual(runbooks, [f"docs/alerts.rst, {alert}" for alert in alerts])
        page = (DOCS / "alerts.rst").read_text()
        self.assertEqual(re.findall(r"^(\w+)\n-{3,}$", page, re.MULTILINE), alerts)

    def test_grafana(self) -> None:
        """Every panel asks for metrics that exist, and every metric has a panel."""
        dashboard = json.loads((DOCS / "monitoring/grafana.json").read_text())
        asked = {
            name
            for panel in dashboard["panels"]
            for target in panel["targets"]
            for name in NAME.findall(target["expr"])
        }
        self.assertEqual([name for name in asked if not known(name)], [])
        shown = {_SUFFIX.sub("", name) for name in asked} | asked
        self.assertEqual(set(EXPECTED) - shown, set())
        ids = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_the_page(self) -> None:
        """The dashboard of ``--admin`` asks for metrics that exist."""
        page = resources.files("twisted_net.web.admin").joinpath("page", "dashboard.js").read_text()
        asked = re.findall(r"(?:rate|late|sum)\((?:now, )?\"([a-z_]+)\"", page)
        asked += re.findall(r"now\.(?:has|get)\(\"([a-z_]+)\"", page)
        self.assertGreater(len(asked), 8)
        self.assertEqual([name for name in asked if not known(name)], [])

    def test_documents(self) -> None:
        """Every metric and every path is documented."""
        text = (DOCS / "monitoring.rst").read_text()
        documented = set(re.findall(r"``([a-z_]+)(?:\{[a-z,]+\})?``", text))
        documented |= {_SUFFIX.sub("", name) for name in documented}
        self.assertEqual(set(EXPECTED) - documented, set())
        for _, path in AdminResource.routes():
            self.assertIn(f"``{path}``", text)

    def test_the_page_is_strict(self) -> None:
        """Nothing comes from elsewhere, and no text is parsed as markup."""
        page = resources.files("twisted_net.web.admin").joinpath("page")
        for each in ("dashboard.html", "dashboard.js", "dashboard.css"):
            text = page.joinpath(each).read_text()
            self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/2000/svg)\S+", text), [])
            for unsafe in (
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                " style=",
                " onclick=",
            ):
                self.assertNotIn(unsafe, text, each)
