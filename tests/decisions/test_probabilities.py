"""How log probabilities of an answer's first token become the probabilities of a question's options."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.conversation import Completion, Image, Message, Reasoning, Text, TokenLogprob, ToolCall
from linkspan.decisions import (
    decision_messages,
    expected_level,
    lettered_question,
    message_record,
    read_probabilities,
    yes_no_question,
)
from linkspan.errors import InvalidResponseError, UnsupportedContentError

URGENT = yes_no_question("Is it urgent?")
TEAM = lettered_question("Which team?", ["billing", "technical", "sales"])


def token(chosen: str, probability: float, **others: float) -> TokenLogprob:
    top = [TokenLogprob(word, math.log(share)) for word, share in {chosen: probability, **others}.items()]
    return TokenLogprob(chosen, math.log(probability), top=top if others else ())


def answer(*tokens: TokenLogprob) -> Completion:
    return Completion(text="".join(token.token for token in tokens), logprobs=list(tokens))


def read(completion: Completion, question=TEAM, least_mass: float = 0.5) -> list[float]:
    return read_probabilities(completion, question, provider="scaleway", least_mass=least_mass)


def test_spellings_of_a_label_count_together_and_other_words_not_at_all() -> None:
    yes, no = read(answer(token("Yes", 0.5, **{" yes": 0.1, "YES": 0.02, "No": 0.2, "Perhaps": 0.15})), URGENT)
    assert yes == pytest.approx(0.62 / 0.82)
    assert no == pytest.approx(0.2 / 0.82)


def test_letters_count_in_their_own_case_only() -> None:
    probabilities = read(answer(token("A", 0.6, a=0.2, B=0.2)))
    assert probabilities == pytest.approx([0.75, 0.25, 0])


def test_marks_and_blanks_before_the_label_are_passed_over() -> None:
    probabilities = read(answer(token("\n", 0.9, x=0.1), token("**", 0.9, x=0.1), token("B", 0.8, C=0.2)))
    assert probabilities == pytest.approx([0, 0.8, 0.2])


def test_where_the_chosen_token_alone_is_known_the_others_share_the_rest() -> None:
    assert read(answer(token("No", 0.9)), URGENT) == pytest.approx([0.1, 0.9])
    assert read(answer(token("C", 0.6))) == pytest.approx([0.2, 0.2, 0.6])


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        (answer(token("The", 0.9, A=0.05)), 'did not answer with a label (A, B, C), but with "The"'),
        (answer(token("The", 0.9)), "did not answer with a label"),
        (answer(token("A", 0.2, The=0.7)), "the labels have 0.20 of the probability (likeliest: 'The' 0.70, 'A' 0.20)"),
        (Completion(text="A"), "came without log probabilities"),
        (Completion(text="A", logprobs=[]), "came without log probabilities"),
        (Completion(text="A", reasoning="Hm", logprobs=[token("A", 0.9)]), "reasons before it answers"),
        (Completion(text="<think>", logprobs=[token("<think>", 0.9)]), "reasons before it answers"),
    ],
)
def test_what_is_no_decision_raises_and_says_why(completion: Completion, said: str) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read(completion)
    assert said in str(caught.value)
    assert caught.value.partial is completion


@settings(max_examples=50)
@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=20), st.data())
def test_probabilities_add_up_to_one_and_keep_their_order(weights: list[float], data: st.DataObject) -> None:
    shares = [weight / sum(weights) for weight in weights]
    question = lettered_question("?", [str(place) for place in range(len(shares))])
    labels = list(question.options)
    chosen = data.draw(st.sampled_from(labels))
    top = tuple(TokenLogprob(label, math.log(share)) for label, share in zip(labels, shares, strict=True))
    probabilities = read(Completion(logprobs=[top[labels.index(chosen)]._replace(top=top)]), question)
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities == pytest.approx(shares)
    assert 0 <= expected_level(probabilities) <= len(shares) - 1


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(UnsupportedContentError, match="27 options; the most are 26"):
        lettered_question("?", ["x"] * 27)


def test_the_state_is_data_and_the_question_follows_it() -> None:
    picture = Image(url="https://example.com/a.png")
    system, state, asked = decision_messages(TEAM, "the state", [picture])
    assert [system.role, state.role, asked.role] == ["system", "data", "user"]
    assert state.parts == [Text("the state")]
    assert asked.parts[0] is picture
    assert "A: billing\nB: technical\nC: sales" in asked.parts[1].text
    assert "labels: A, B, C" in asked.parts[1].text


def test_a_message_is_written_with_its_calls_and_without_its_thoughts() -> None:
    media: list = []
    picture = Image(url="https://example.com/a.png")
    said = Message("assistant", [Reasoning("hm"), Text("I look."), picture], "ann", [ToolCall("1", "f", '{"a": 1}')])
    assert message_record(said, media) == {
        "role": "assistant",
        "content": "I look.\n[image 1]",
        "name": "ann",
        "tool_calls": [{"id": "1", "name": "f", "arguments": '{"a": 1}'}],
    }
    assert media == [picture]
