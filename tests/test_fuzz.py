"""A few damaged and wrong files at every entrance; `python tests/fuzz.py 300` tries many."""

import pytest
from fuzz import ENTRANCES, attempt
from hypothesis import HealthCheck, given, settings


@pytest.mark.parametrize("name", ENTRANCES)
def test_a_damaged_or_wrong_file_is_refused_in_a_sentence_or_read_right(name, tmp_path):
    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(ENTRANCES[name][0])
    def check(drawn):
        attempt(name, tmp_path, drawn)

    check()
