"""A mark for translators' tools: the form of a sentence, which is translated when it is needed."""


def form(text: str) -> str:
    """The form itself, in English."""
    return text
