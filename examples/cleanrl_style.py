"""A script in the style of CleanRL, tuned by PB2 from outside. It needs `pip install 'poptrain[torch]' gymnasium`.

    poptrain run examples/cleanrl_style.py

The script is `examples/cleanrl_ppo.py`. The lines below are all that it takes to tune it.
"""

from pathlib import Path

import poptrain as pt

script = Path(__file__).with_name("cleanrl_ppo.py")
options = "--learning-rate {lr} --ent-coef {ent_coef} --clip-coef {clip_coef} --gamma {gamma}"
train = pt.command(
    f"python '{script}' {options} --total-timesteps {{steps}} --seed {{seed}} --checkpoint {{checkpoint}}", timeout=600
)

experiment = pt.Experiment(
    algorithm=pt.pb2(
        pt.Space(
            lr=pt.LogUniform(1e-4, 1e-2),
            ent_coef=pt.LogUniform(1e-4, 1e-1),
            clip_coef=pt.Uniform(0.1, 0.4),
            gamma=pt.Complement(0.95, 0.999),
        ),
        population=4,
        interval=8192,
        evaluate_first=False,
    ),
    trainable=train,
    stop=pt.steps(8 * 8192),
    executor="processes",
)

if __name__ == "__main__":
    run = pt.run(experiment)
    print(f"return {run.best.score:.0f} of 500 with {run.best.hparams}; the agent is in {run.best.load()}")
