"""docs/reliability.md is what the catalogue of faults and the names of the tests say."""

from __future__ import annotations

import scenarios

PAGE = scenarios.HERE.parent / "docs" / "reliability.md"


def test_every_scenario_has_a_test_that_exists_and_the_page_is_up_to_date():
    known = scenarios.tests()
    for id, _, *named in scenarios.scenarios():
        own = [name for name in known if name.startswith(f"test_{id.lower()}_")]
        missing = [name for name in (named[0].split() if named else []) if name not in known]
        assert not missing, f"{id}: {missing} are not tests"
        assert len(id) == 1 or own or named[0], f"{id} has no test"
    assert PAGE.read_text() == scenarios.page(), "run: python tests/scenarios.py > docs/reliability.md"
