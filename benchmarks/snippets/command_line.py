import poptrain as pt

train = pt.command("python -m benchmarks.snippets.script --lr {lr} --steps {steps} --directory {checkpoint}")
run = pt.run(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=2), train, stop=pt.steps(6))
