"""From a sample to its report."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.audit.made_up import small
from tests.latents.tables import browser  # noqa: F401 (a fixture)
from weightspace.audit.audit import audit_sample
from weightspace.audit.finetune import Curve
from weightspace.audit.reference import Reference
from weightspace.audit.report import write_markdown
from weightspace.audit.report_page import write_audit_page
from weightspace.errors import AuditError


@pytest.fixture(scope="module")
def audit():
    made = small()
    sample = made.generator.sample(12, condition="test_accuracy=0.2..0.9", seed=0)
    about = {"condition": "<script>alert(1)</script> | x"}
    found = audit_sample(sample, made.generator, made.decoder, made.reference, about)
    return replace(found, curves={"generated": Curve((0, 1, 10), np.array([[0.1], [0.2], [0.5]]), 0.01)})


def test_a_decoded_training_network_scores_as_a_copy(audit):
    rows = {row.name: row for row in audit.rows}
    assert rows["decoded training networks"].novelty == 0
    assert rows["decoded training networks"].weights < 1e-3
    assert rows["retrieval"].novelty == 0 and rows["retrieval"].weights < 1e-3
    assert rows["generated"].weights > 0.05
    assert rows["held-out networks"].novelty == pytest.approx(1, abs=0.1)


def test_noise_that_answers_anew_is_still_near_in_weights(audit):
    rows = {row.name: row for row in audit.rows}
    assert rows["noise 0.1"].weights < 0.25 < rows["noise 0.5"].weights
    assert rows["noise 0.1"].joint < rows["held-out networks"].joint


def test_everything_is_told_as_json(audit):
    told = json.loads(json.dumps(audit.as_dict(), allow_nan=False))
    assert told["rows"][0]["name"] == "generated" and told["rows"][0]["count"] == 12
    assert set(told["fidelity"]) == {"spearman", "gap", "count"}
    assert told["curves"]["generated"] == {"0": 0.1, "1": 0.2, "10": 0.5}


def test_a_reference_comes_back_from_its_file(tmp_path, audit):
    made = small()
    made.reference.save(tmp_path)
    again = Reference.load(tmp_path)
    sample = made.generator.sample(12, condition="test_accuracy=0.2..0.9", seed=0)
    told = audit_sample(sample, made.generator, made.decoder, again, audit.about)
    first, second = audit.as_dict()["rows"], told.as_dict()["rows"]
    for a, b in zip(first, second, strict=True):
        assert a["name"] == b["name"]
        np.testing.assert_allclose(a["joint"], b["joint"], atol=0.02)
    with pytest.raises(AuditError, match="is there already"):
        made.reference.save(tmp_path)


def test_a_missing_or_damaged_reference_is_named(tmp_path):
    with pytest.raises(AuditError, match="cannot be audited"):
        Reference.load(tmp_path)
    (tmp_path / "audit.safetensors").write_bytes(b"nothing")
    with pytest.raises(AuditError, match="is damaged"):
        Reference.load(tmp_path)


def test_another_decoder_is_refused(audit):
    made = small()
    other = replace(made.decoder, name="other")
    with pytest.raises(AuditError, match="not of other@"):
        audit_sample(made.generator.sample(2), made.generator, other, made.reference, {})


def test_markdown_holds_the_table_and_no_tags(audit):
    text = write_markdown(audit)
    assert "| generated | 12 |" in text and "<" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows[: len(audit.rows)]}) == 1


def test_the_page_shows_all_and_asks_nobody(audit, browser, tmp_path):  # noqa: F811
    path = tmp_path / "audit.html"
    path.write_text(write_audit_page(audit), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url) if not request.url.startswith("file:") else None)
    page.on("dialog", lambda dialog: heard.append("a dialog"))
    page.goto(path.as_uri())
    assert heard == []
    assert "<script>alert(1)</script>" in page.inner_text("header")
    assert page.locator("svg").count() == 4
    assert page.locator("tbody tr").count() >= len(audit.rows)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
