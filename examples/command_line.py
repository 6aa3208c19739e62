"""A training script as it is, tuned by PBT: one process for each interval. It needs `pip install scikit-learn`.

    poptrain run examples/command_line.py

The script is `examples/digits_script.py`. The line below is all that it takes: poptrain fills in the hyperparameters, the number
of epochs, and the directory in which the script keeps its model.
"""

from pathlib import Path

import poptrain as pt

script = Path(__file__).with_name("digits_script.py")
options = "--lr {lr} --momentum {momentum} --weight-decay {weight_decay} --epochs {steps} --seed {seed} --output {checkpoint}"

experiment = pt.Experiment(
    algorithm=pt.pbt(
        pt.Space(lr=pt.LogUniform(1e-4, 1.0), momentum=pt.Uniform(0.5, 0.99), weight_decay=pt.LogUniform(1e-6, 1e-2)),
        population=6,
        interval=2,
    ),
    trainable=pt.command(f"python '{script}' {options}", timeout=300),
    metric="loss",
    mode="min",
    stop=pt.steps(16),
    executor="processes",
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"loss {run.best.score:.3f} with {run.best.hparams}; the model is in {run.best.load()}")
