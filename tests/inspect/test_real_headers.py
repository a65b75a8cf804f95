"""Headers of the real checkpoints, against what the manifest counted."""

import json

from weightspace.inspect.report import read_report


def test_every_real_checkpoint_holds_as_many_weights_as_its_manifest_says(shared_checkpoints):
    entries = json.loads((shared_checkpoints / "manifest.json").read_text())["checkpoints"]
    wrong = {}
    for entry in entries:
        found = read_report(str(shared_checkpoints / entry["file"]))
        if found.header.weights != entry["params"] + entry["buffers"]:
            wrong[entry["id"]] = (found.header.weights, entry["params"], entry["buffers"])
        assert set(found.opaque) == set(found.graph.opaque) and all(found.opaque.values())
    assert not wrong
