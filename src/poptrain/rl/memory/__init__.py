"""Memory of transitions: rollouts in compiled code (`ring`) and on the host (`recording`), and replay memories.

A rollout is a `batch` that a learner reads and forgets. A replay memory consists of `rows` that stand on their own; between
intervals they lie in `chunks`.
"""
