"""Cleans raw review texts and cuts them into sentences."""

import html
import re
import unicodedata

import sentencex

from descry.corpus.readers import Passage, Review

_ENTITY = re.compile(r"&(#?\w{1,31}) ?;")
_AMPERSANDS = re.compile(r"&(?:(?:amp|#0*38|#x0*26) ?;)+", re.IGNORECASE)
# Escapes written out: a backslash, or several if they were escaped again, and a letter. Between two letters only a line
# end is likelier than a backslash for a slash; paths are left alone.
_ESCAPE = re.compile(
    r"(?P<path>(?<!\S)(?:[A-Za-z]:\\|\\\\\w)\S*)"
    r"|(?P<blank>(?<![A-Za-z\\])\\++t|(?<!\\)\\++t(?![A-Za-z]))"
    r"|(?<!\\)\\++(?:u(?P<code>[0-9a-fA-F]{4})|(?P<line>(?:r\\++)?n|r(?!\w))|(?P<sign>[\"'/]))"
)
_ROUNDS = 8
"""How often a text may have been escaped."""
_BREAKS = "blockquote|br|dd|div|dl|dt|h[1-6]|hr|li|ol|p|pre|table|tbody|td|th|tr|ul"
_INLINE = "a|abbr|b|big|center|code|em|font|i|img|input|s|small|span|strong|sub|sup|tt|u|video"
# Only known tags, with nothing but attributes inside: "a < b and c > d" and "<3" are text.
_TAG = re.compile(rf"<\s*/?\s*(?:({_BREAKS})|{_INLINE})(?:\s[^<>]*=[^<>]*)?\s*/?\s*>", re.IGNORECASE)
# Control and format characters that are not white space, and halves of surrogate pairs.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
# Marks piled on a letter beyond what any script needs; ordering them takes time quadratic in their number.
_PILED = re.compile("([\u0300-\u036f]{30})[\u0300-\u036f]+")
# Blanks that a tokeniser inserted. Each rule removes blanks and nothing else.
_BLANKS = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in [
        (r"(?<=\w) (n['’]t|['’](?:s|m|d|re|ve|ll))(?![\w'’])", r"\1"),
        (r"\b(gon|wan|got) (?=(?:(?<=got )ta|(?<!got )na)\b)", r"\1"),
        (r'(?<!\S)(?<!\d )" ([^"]*[^" ]) "(?=[\s,.;:!?)]|$)', r'"\1"'),
        (r"([(\[]) +", r"\1"),
        (r" +(?=[)\]])", ""),
        (r" +((?:\.+|[,!?])(?=[\s,.!?)\]\"]|$)|[;:](?=\s(?!\d)|$))", r"\1"),
        (r"(?<=\d) (?=%)", ""),
        (r"([$£€#]) (?=\d)", r"\1"),
    ]
]


def normalise(text: str) -> str:
    """Clean a text: one line for each line or block of the original, none of them empty; Unicode NFC.

    HTML entities and written-out escapes (a backslash and n, r, t, a quote, or u with four digits) are resolved,
    however often they were escaped; paths are left alone. Known tags are removed (<br>, <p> and the like end a line),
    and so are invisible characters, and all but the first 30 marks on a letter; white space becomes single blanks;
    blanks that a tokeniser put before punctuation, in contractions, brackets and quotes are closed: `( it does n't fit
    , sadly )` becomes `(it doesn't fit, sadly)`. A text without any of that is unchanged.
    """
    text = _TAG.sub(lambda match: "\n" if match[1] else " ", _unescape(text))
    text = unicodedata.normalize("NFC", _PILED.sub(r"\1", _INVISIBLE.sub("", text)))
    lines = (_close_blanks(" ".join(line.split())) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _unescape(text: str) -> str:
    """Resolve entities and escapes until none is left."""
    for _ in range(_ROUNDS):
        plain = _ENTITY.sub(lambda match: html.unescape(f"&{match[1]};"), _AMPERSANDS.sub("&", text))
        plain = _ESCAPE.sub(_resolve, plain).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if plain == text:
            break
        text = plain
    return text


def _resolve(escape: re.Match[str]) -> str:
    if escape["path"]:
        return escape[0]
    if escape["code"]:
        return chr(int(escape["code"], 16))
    return "\n" if escape["line"] else " " if escape["blank"] else escape["sign"]


def segment(text: str, language: str = "en") -> list[str]:
    """Cut a normalised text into sentences, none of them empty; the end of a line always ends a sentence.

    language: an ISO 639 code; sentencex knows about 300 and treats others as English. Only blanks and line ends between
    sentences are lost.
    """
    pieces = (piece.strip() for line in text.splitlines() for piece in sentencex.segment(language, line))
    return [piece for piece in pieces if piece]


def has_letter(text: str) -> bool:
    """Whether a text has a letter, of any script."""
    return any(character.isalpha() for character in text)


def cut_sentences(review: Review, language: str = "en") -> list[Passage]:
    """Cut a review into normalised sentences with their gold aspects; sentences without a letter are included.

    Sentences that the corpus gives are not cut again. Gold aspects of a whole text pass to its sentence if only one has
    letters, and to all sentences if they are empty (()); else they are None: their sentence is unknown.
    """
    if review.segmented:
        return [Passage(" ".join(normalise(p.text).split()), p.aspects) for p in review.passages]
    (whole,) = review.passages
    texts = segment(normalise(whole.text), language)
    known = not whole.aspects or sum(map(has_letter, texts)) == 1
    return [Passage(text, whole.aspects if known else None) for text in texts]


def _close_blanks(line: str) -> str:
    for pattern, replacement in _BLANKS:
        line = pattern.sub(replacement, line)
    return line
