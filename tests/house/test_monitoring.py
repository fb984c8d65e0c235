"""The dashboard for Grafana and the alerts for Prometheus use the metrics as they are, and Prometheus takes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.metrics.families import FAMILIES, VALUES, Family, Kind
from tests.contract.journal_sagas import FORWARD, PARK, TURN_BACK, run
from tests.contract.scraping import registry_of
from tests.house.tree import ROOT

RULES = ROOT / "config" / "prometheus-rules.yml"
DASHBOARD = ROOT / "config" / "grafana-dashboard.json"
ALERTS = ROOT / "tests" / "house" / "alerts" / "rules_test.yml"
ADDED = {"instance", "job", "le"}  # by Prometheus, and by histograms
TABLE = {family.name: family for family in FAMILIES}


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text("utf-8"))


def questions() -> list[str]:
    """What the panels of the dashboard ask."""
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def all_texts() -> list[str]:
    variables = [each["query"]["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query"]
    return [*questions(), *variables, RULES.read_text("utf-8")]


def used(text: str) -> Iterator[tuple[Family, str]]:
    """Each metric that a text names, and the labels that it selects by."""
    for name, selector in re.findall(r"\b(antistrophe_\w+)(?:\{([^}]*)\})?", text):
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        family = TABLE.get(name) or TABLE.get(plain)
        assert family is not None, f"there is no metric {name}"
        assert name == family.name or family.kind is Kind.HISTOGRAM, name
        yield family, selector


def test_the_dashboard_and_the_alerts_use_the_metrics_that_there_are() -> None:
    for text in all_texts():
        for family, selector in used(text):
            for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', selector):
                assert label in {*family.labels, *ADDED}, f"{family.name} has no label {label}"
                if label in VALUES and not value.startswith("$"):
                    wanted = value.split("|") if "~" in operator else [value]
                    assert set(wanted) <= set(VALUES[label]), f"{label}{operator}{value}"


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    assert {family.name for text in all_texts() for family, _ in used(text)} == set(TABLE)


def test_sums_are_by_labels_that_there_are() -> None:
    known = {label for family in FAMILIES for label in family.labels} | ADDED
    for text in all_texts():
        for names in re.findall(r"\b(?:by|without) \(([^)]*)\)", text):
            assert {name.strip() for name in names.split(",")} <= known


def test_the_dashboard_can_be_imported() -> None:
    board = dashboard()
    assert board["uid"] == board["title"] == "antistrophe"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {each["name"] for each in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text("utf-8"))) - {"__rate_interval", "__all"} <= variables
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, f"{panel['title']} lies over another panel"
        places |= cells


# --- by Prometheus itself -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def promtool() -> Path:
    found = shutil.which("promtool", path=f"{os.environ.get('PATH', '')}{os.pathsep}{ROOT / 'build' / 'bin'}")
    if found is None:
        says = "promtool is not here: the alerts are not checked. `bash .ci/promtool` puts it into build/bin"
        if os.environ.get("CI"):
            pytest.fail(says)
        pytest.skip(says)
    return Path(found)


def checked(promtool: Path, *words: str | Path, given: str | None = None) -> str:
    done = subprocess.run([promtool, *words], input=given, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_prometheus_takes_the_alerts(promtool: Path) -> None:
    alerts = len(re.findall(r"^ +- alert: ", RULES.read_text("utf-8"), re.MULTILINE))
    assert f"SUCCESS: {alerts} rules found" in checked(promtool, "check", "rules", "--lint-fatal", RULES)


def test_the_alerts_fire_when_they_should_and_not_else(promtool: Path) -> None:
    checked(promtool, "test", "rules", ALERTS)
    tested = set(re.findall(r"alertname: (\w+)", ALERTS.read_text("utf-8")))
    assert tested == set(re.findall(r"- alert: (\w+)", RULES.read_text("utf-8")))


def test_prometheus_can_answer_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__rate_interval", "5m", text).replace("$", "")}
        for number, text in enumerate(questions())
    ]
    file = tmp_path / "questions.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    assert f"SUCCESS: {len(rules)} rules found" in checked(promtool, "check", "rules", file)


def test_prometheus_finds_nothing_wrong_with_the_metrics(promtool: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    journal = SqliteJournal(journal_path(home))
    run(journal, "done", *FORWARD)
    run(journal, "parked", *TURN_BACK, PARK)
    journal.close()
    text = generate_latest(registry_of(home)).decode()
    assert checked(promtool, "check", "metrics", given=text) == ""
