"""The Ray executor against the laws of the house: one row a way of carrying checkpoints and a form of trainable."""

from __future__ import annotations

import executor_table as forms
import pytest

import poptrain as pt

pytestmark = pytest.mark.heavy

ROWS = {  # the trainable, the options, those of one at a time, and whether it equals inline bit for bit
    "shared, function": (forms.in_functions_elsewhere, {"slots": 2}, {"slots": 1}, True),
    "URL, class": (forms.in_a_class, {"slots": 2}, {"slots": 1}, True),
    "driver, class": (forms.in_a_class, {"slots": 2, "carrier": "driver"}, {"slots": 1, "carrier": "driver"}, True),
    "vectorized, JAX": (forms.in_jax, {"slots": 2, "vectorized": True}, {"vectorized": True}, False),
}


@pytest.fixture(scope="module")
def address():
    """Returns the address of a Ray that runs on this machine as long as these tests do."""
    ray = pytest.importorskip("ray")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray.init(address="local", num_cpus=4, object_store_memory=200 << 20, **quiet)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.parametrize("row", ROWS)
class TestLaws(forms.Formed):
    @pytest.fixture(autouse=True)
    def _row(self, row, address):
        form, wide, narrow, self.exact = ROWS[row]
        self.form = form()
        if row.startswith("URL"):
            pytest.importorskip("fsspec")
            self.checkpoints = lambda directory: f"file://{directory}-bucket"
        self.config = lambda: pt.executors.Ray(address=address, **wide)
        self.narrow = lambda: pt.executors.Ray(address=address, **narrow)
