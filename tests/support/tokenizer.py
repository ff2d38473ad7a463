"""
A little tokenizer of our own, trained on our own words.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.extras import reason_of


WORDS = "the walk takes the next hop, and the next hop of the walk takes the next edge to the next node"


def trained(folder: Path) -> Path:
    """
    Train a tokenizer over bytes, and save it in *folder*.
    """
    pytest.importorskip("tokenizers", reason=reason_of("tokenizers"))
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=300, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([WORDS] * 5, trainer)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))

    return path
