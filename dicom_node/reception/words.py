"""Words of a free text, in the form in which the gate compares them."""

import re
import unicodedata

_WORD = re.compile(r"[^\W\d_]+")


def plain(text: str) -> str:
    """`text` in capitals without accents: `Tórax` and `TORAX` are one word. Full-width letters become ordinary ones."""
    decomposed = unicodedata.normalize("NFKD", text.upper().replace("Ł", "L").replace("Ø", "O"))
    # Composed again, for Korean syllables fall apart, too.
    kept = "".join(character for character in decomposed if not "\u0300" <= character <= "\u036f")
    return unicodedata.normalize("NFC", kept)


def words(text: str) -> tuple[str, ...]:
    """The words of a text that is `plain`: runs of letters of any script."""
    return tuple(_WORD.findall(text))
