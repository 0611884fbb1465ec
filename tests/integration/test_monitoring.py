"""Prometheus's files and the board: valid, tested, and of metrics that exist; each alert has its section."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.integration.test_metrics import MONITORING, NAME, everything, names_of
from tests.integration.test_metrics import promtool as promtool
from tests.unit.test_deploy_files import compose
from tests.unit.test_deploy_files import passwords as passwords
from tools.valkey import ROOT

BOARD = json.loads((MONITORING / "grafana" / "dashboards" / "ocr.json").read_text())


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


ALERTS = [rule["alert"] for rule in rules()]


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")],
)
def test_promtool_accepts_them(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_a_rule_or_the_board_names_exists() -> None:
    queries = [rule["expr"] for rule in rules()]
    queries += [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for query in queries for name in NAME.findall(query)}
    assert len(named) > 25
    assert named - names_of(everything()) == set()


def test_every_alert_is_tested_to_fire_and_to_keep_quiet() -> None:
    tests = yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)


def test_every_alert_has_a_section_of_the_runbook_and_the_reverse() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert re.findall(r"^### (Ocr\w+)$", text, re.M) == ALERTS
    assert [rule["annotations"]["runbook_url"] for rule in rules()] == [
        f"docs/operations.md#{alert.lower()}" for alert in ALERTS
    ]


def test_the_profile_monitoring_is_hardened_and_on_loopback(passwords: Any) -> None:
    done = compose("monitoring", passwords, "config")
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    for name in ("prometheus", "grafana"):
        service = services[name]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"]
        assert service["user"] not in {"", "0", "root"}
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        for mount in service["volumes"]:
            assert mount["type"] == "volume" or mount["read_only"], mount
    assert services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
