"""The Ray executor against the laws of the house: one row a way of carrying checkpoints and a form of trainable."""

from __future__ import annotations

import distilling_toys as toys
import executor_table as forms
import pytest

import poptrain as pt
from poptrain.checkpoints.store import DiskStore
from poptrain.testing.bench import Bench, task

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


@pytest.mark.parametrize("row", ["URL, class", "driver, class"])
def test_a_failure_takes_no_other_state_out_of_its_actor(row, address, tmp_path):
    form, _, narrow, _ = ROWS[row]
    config, store = pt.executors.Ray(address=address, **narrow), DiskStore(tmp_path)
    with Bench(config, form()["faulty"]("sys.exit"), store) as bench:  # the actor keeps the state of one member
        well, ill = bench.perform([task(0, 0), task(1, 1, lr=0.2)])
        (again,) = bench.perform([task(2, 0, parent=0)])
    assert (well.kind, ill.kind) == ("ok", "failed")
    assert again.kind == "ok", f"the actor no longer had the state of member 0, and got no copy: {again.error}"


@pytest.mark.parametrize(
    ("trainable", "options"),
    [
        (toys.FUNCTIONS, {"slots": 2}),
        (toys.Pupil, {"slots": 2, "carrier": "driver"}),
        (toys.jax_toy(), {"slots": 2, "vectorized": True}),
    ],
    ids=["shared, function", "driver, class", "vectorized, JAX"],
)
def test_students_on_a_cluster_learn_as_they_do_in_one_process(trainable, options, address, tmp_path):
    def run(executor):
        generations = pt.Generations(distill=10, every=15, most=1)
        algorithm = pt.bg_pbt(toys.SPACE, population=4, interval=5, generations=generations, window=8, retune=None)
        where = tmp_path / str(executor)[:6]
        history = pt.run(algorithm, trainable, stop=pt.steps(60), executor=executor, directory=where, progress=False).history
        return [history.task(id) for id in range(history.n)], history.scores.tolist()

    inline = run("vectorized" if "vectorized" in options else "inline")
    tasks, scores = run(pt.executors.Ray(address=address, **options))
    assert any(each.teacher is not None for each in tasks) and tasks == inline[0]
    assert scores == pytest.approx(inline[1], rel=1e-5)
