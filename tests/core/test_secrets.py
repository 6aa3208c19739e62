"""What counts as a secret in a command line, and what does not."""

from __future__ import annotations

import pytest

from poptrain.core.secrets import redacted, secret_in

SECRETS = [
    "--api-key sk-1f4",
    "--api_key=sk-1f4",
    "--apikey sk-1f4",
    "--wandb-api-key abc",
    "wandb.api_key=abc",
    "--password hunter2",
    "-password hunter2",
    "db.password=hunter2",
    "--client-secret x.y",
    "--aws_secret_access_key wJalrXUtnFEMI",
    "--hf-token hf_0123456789abcdef",
    "--token=0123456789abcdef0123",
    "--PASSWORD Hunter2",
]
HARMLESS = [
    "--pad-token <pad>",
    "--eos_token </s>",
    "--stop-token end",
    "--max-tokens 1024",
    "--tokens 0123456789abcdef0123",
    "--tokenizer gpt2-medium-0123456789",
    "--secret-layers 3",
    "--password",
    "--password --lr 3",
    "--key abc",
    "--monkey abc",
    "--token 50256",
    "--use-token true",
    "--api-key $WANDB_KEY",
    "--api-key {key}",
    "api_key abc",
    "secret.py --lr 3",
    "--keyboard qwerty",
    "--passwords-file words.txt",
    "--api-key-file key.txt",
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_is_found_named_and_hidden(line):
    words = ["train.py", *line.split(), "--lr", "0.1"]
    name, value = line.replace("=", " ").split()
    assert secret_in(words) == name
    shown = redacted(words)
    assert value not in " ".join(shown) and "…" in " ".join(shown)
    assert shown[0] == "train.py" and shown[-2:] == ["--lr", "0.1"] and len(shown) == len(words)
    assert redacted(shown) == shown


@pytest.mark.parametrize("line", HARMLESS)
def test_what_only_looks_like_a_secret_is_left_alone(line):
    words = line.split()
    assert secret_in(words) is None and redacted(words) == words
