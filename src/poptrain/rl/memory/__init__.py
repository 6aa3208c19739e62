"""Memory of transitions: a rollout in compiled code (`ring`), on the host (`recording`), and the batch that a learner reads."""
