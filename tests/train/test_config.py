import pytest

from weightspace.errors import ConfigError
from weightspace.train.config import LEARNED, parse_config, read_config

LEAST = {"name": "mine", "populations": ["a", "b"]}


def test_what_is_not_said_is_the_default():
    config = parse_config(LEAST | {"steps": 7, "sizes": {"width": 16}})
    assert (config.populations, config.steps, config.seed) == (("a", "b"), 7, 0)
    assert (config.sizes.width, config.sizes.latent) == (16, LEARNED.latent)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"step": 3}, "mine.yaml: key 'step' is not known; there are .*'steps'"),
        ({"sizes": {"widht": 3}}, "mine.yaml: sizes: key 'widht' is not known"),
        ({"steps": 2.5}, "mine.yaml: steps: 2.5 is no whole number"),
        ({"steps": True}, "steps: True is no whole number"),
        ({"noise": "much"}, "noise: 'much' is no number"),
        ({"populations": "a"}, "populations: 'a' is no list"),
        ({"sizes": {"latent": -1}}, "latent: -1 is no whole number"),
        ({"sizes": {"latent": 16}}, "sizes: fixed: 48 and answers: 144 leave nothing to learn of the weights"),
        ({"sizes": {"fixed": 18}}, "sizes: fixed: 18 leaves nothing beside the 18 numbers of energies"),
        ({"sizes": {"picture": 6}}, "sizes: picture: 6 is no multiple of 4"),
        ({"sizes": {"probes": 0}}, "sizes: answers: 144 numbers for 0 probes"),
    ],
)
def test_a_key_or_value_that_does_not_fit_is_named(change, text):
    with pytest.raises(ConfigError, match=text):
        parse_config(LEAST | change, source="mine.yaml")


def test_missing_keys_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"\['populations'\] are missing"):
        parse_config({"name": "mine"})
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_config(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds no mapping"):
        read_config(tmp_path / "list.yaml")
