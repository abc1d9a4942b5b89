"""Word pieces: texts as numbers and back, by a vocabulary that is learned from texts (sentencepiece).

Byte-pair encoding (Sennrich, Haddow, Birch 2016), the words' beginnings marked by ▁. What no piece covers is
written in bytes, so that every text of any script has numbers.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from glimpse_env.data.files import DatasetError


class Pieces:
    """A vocabulary of at most `most` pieces, learned from `texts`: the same texts make the same vocabulary.

    names: the pieces, the first of which stands for nothing. Raises DatasetError where sentencepiece is not
    installed and for texts without a letter.
    """

    def __init__(self, texts: Iterable[str], most: int) -> None:
        try:
            import sentencepiece
        except ImportError:
            raise DatasetError(
                "word pieces need sentencepiece: pip install 'glimpse_env[text]', or sentencepiece."
            ) from None
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type="bpe",
                vocab_size=most,
                hard_vocab_limit=False,  # of a short text there are fewer
                character_coverage=1.0,
                byte_fallback=True,
                normalization_rule_name="identity",
                num_threads=1,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DatasetError(f"no word pieces could be learned from this text ({error}).") from None
        self.model = model.getvalue()
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=self.model)
        count = self._processor.get_piece_size()
        self.names: tuple[str, ...] = tuple(self._processor.id_to_piece(i) for i in range(count))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's pieces."""
        encoded: list[list[int]] = self._processor.encode(list(texts))
        return encoded

    def decode(self, pieces: Sequence[int]) -> str:
        """The text that pieces spell; bytes that are no letter become �."""
        text: str = self._processor.decode([int(piece) for piece in pieces])
        return text

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "names": self.names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import sentencepiece

        self.__dict__.update(state)
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=self.model)
