"""The event decoder by the WHATWG rules, whatever way the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linkspan.transport import SSEDecoder


def decode(*chunks: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end):
    assert decode(b"data: a" + end + end + b"data: b" + end + end) == [b"a", b"b"]


def test_mixed_line_ends():
    assert decode(b"data: a\r\n\ndata: b\n\rdata: c\r\rdata: d\n\r\n") == [b"a", b"b", b"c", b"d"]


def test_event_is_complete_with_the_cr_of_its_blank_line():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [b"a"]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: b\r\n\r\n") == [b"b"]


def test_lf_after_a_cr_in_another_chunk_ends_no_second_line():
    assert decode(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]
    assert decode(b"data: a\r", b"\n", b"\n") == [b"a"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"data: a", b"a"),
        (b"data:a", b"a"),
        (b"data:  a", b" a"),
        (b"data: a ", b"a "),
        (b"data:", b""),
        (b"data", b""),
        (b"data: a: b", b"a: b"),
        (b"data:\ta", b"\ta"),
    ],
)
def test_values(line, value):
    # Twice, because the decoder has a short cut that is not taken for the first event.
    assert decode(line + b"\n\n", line + b"\n\n") == [value, value]


def test_several_data_lines_are_one_event():
    assert decode(b"data: {\ndata:  1\ndata\ndata: }\n\n") == [b"{\n 1\n\n}"]


def test_data_lines_without_blank_line_between_them_are_one_event():
    assert decode(b"data: a\ndata: b\n") == [b"a\nb"]


def test_comments_and_unknown_fields_are_no_events():
    assert decode(b": ping\n\n:\n\nretry: 3000\n\nfoo: bar\n\nDATA: a\n\n data: b\n\n") == []


def test_comment_within_an_event():
    assert decode(b"data: a\n: ping\ndata: b\n\n") == [b"a\nb"]


def test_types_and_ids_are_passed_over():
    assert decode(b"event: add\nid: 7\ndata: a\n\nevent: ping\n\ndata: b\nid: 1\0\n\n", b"id\ndata: c\n\n") == [
        b"a",
        b"b",
        b"c",
    ]


def test_byte_order_mark_only_at_the_start():
    mark = b"\xef\xbb\xbf"
    assert decode(mark + b"data: a\n\n") == [b"a"]
    assert decode(mark[:1], mark[1:2], mark[2:] + b"data: a\n\n") == [b"a"]
    assert decode(b"data: a\n\n" + mark + b"data: b\n\n") == [b"a"]
    assert decode(b"data: " + mark + b"\n\n") == [mark]


def test_other_separators_are_text():
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()
    assert decode(b"data: " + text + b"\n\n", b"data: " + text + b"\n\n") == [text, text]


def test_nul_and_invalid_utf8_are_kept():
    assert decode(b"data: \0\xff\xfe\n\n") == [b"\0\xff\xfe"]


@pytest.mark.parametrize("tail", [b"data: b", b"data: b\n", b"data: b\r", b"data: b\r\n"])
def test_last_event_without_its_blank_line(tail):
    assert decode(b"data: a\n\n" + tail) == [b"a", b"b"]


@pytest.mark.parametrize("tail", [b"", b"\n", b": ping", b"event: end", b"id: 3\n"])
def test_end_without_pending_data(tail):
    assert decode(b"data: a\n\n" + tail) == [b"a"]


def test_decoder_is_as_new_after_flush():
    decoder = SSEDecoder()
    decoder.feed(b"event: x\nid: 1\ndata: a")
    assert decoder.flush() == [b"a"]
    assert decoder.flush() == []
    assert decoder.feed(b"\xef\xbb\xbfdata: b\n\n") == [b"b"]


def test_big_events_are_not_scanned_again_with_each_chunk():
    # 16 MB in pieces of 1 kB: scanning what is there again with each piece would read 128 GB.
    piece = b"x" * 1024
    decoder = SSEDecoder()
    decoder.feed(b"data: ")
    for _ in range(16 * 1024):
        assert decoder.feed(piece) == []
    [event] = decoder.feed(b"\n\n")
    assert len(event) == 16 * 1024 * 1024


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b'data: {"text":"gr\xc3\xbc\xc3\x9fe \xe2\x80\xa8 \xf0\x9f\x8c\x8d"}',
        b": ping",
        b"event: add",
        b"id: 1",
        b"retry: 10",
        b"",
        b"",
        b"\xef\xbb\xbfdata: c",
        b"other",
    ],
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def reference(stream: bytes) -> list[bytes]:
    """The rules of the standard, word by word and slowly, on the whole stream; plus a last event without its end."""
    text = stream.removeprefix(b"\xef\xbb\xbf")
    lines, line, position = [], b"", 0
    while position < len(text):
        if text[position : position + 2] == b"\r\n":
            position += 1
        if text[position : position + 1] in (b"\r", b"\n"):
            lines.append(line)
            line = b""
        else:
            line += text[position : position + 1]
        position += 1
    events, buffer = [], b""
    for field in [*lines, line, b""]:
        if not field:
            if buffer:
                events.append(buffer[:-1])
            buffer = b""
            continue
        name, _, value = field.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            buffer += value + b"\n"
    return events


@pytest.mark.parametrize(
    ("burst", "expected"),
    [
        pytest.param(b"data: b\n\ndata: c\n\n", [b"b", b"c"], id="several"),
        pytest.param(b"data:b\n\ndata:c\n\n", [b"b", b"c"], id="no-space"),
        pytest.param(b"data:b\n\ndata: c\n\n", [b"b", b"c"], id="space-later"),
        pytest.param(b"data: b\n\ndata:c\n\n", [b"b", b"c"], id="space-first"),
        pytest.param(b"data:  b\n\ndata:  c\n\n", [b" b", b" c"], id="two-spaces"),
        pytest.param(b"data: b\n\n\ndata: c\n\n", [b"b", b"c"], id="further-blank-line"),
        pytest.param(b"data: b\ndata: d\n\ndata: c\n\n", [b"b\nd", b"c"], id="two-lines"),
        pytest.param(b"data: b\n\n: ping\n\ndata: c\n\n", [b"b", b"c"], id="comment"),
        pytest.param(b"data: b\n\ndata: c\n\nid: 1\n\n", [b"b", b"c"], id="id"),
        pytest.param(b"data:\n\ndata\n\n", [b"", b""], id="empty"),
        pytest.param(b"data: b\r\n\r\ndata: c\r\n\r\n", [b"b", b"c"], id="crlf"),
        pytest.param(b"data: b\r\n\r\ndata: c\n\n", [b"b", b"c"], id="crlf-and-lf"),
        pytest.param(b"data: b\r\rdata: c\r\n\r\n", [b"b", b"c"], id="cr-and-crlf"),
    ],
)
def test_several_events_in_one_chunk_after_the_first(burst, expected):
    decoder = SSEDecoder()
    first = decoder.feed(b"data: a\n\n")
    assert [*first, *decoder.feed(burst), *decoder.feed(b"data: z\n\n")] == [b"a", *expected, b"z"]


@given(
    lines=st.lists(st.tuples(LINES, ENDS), max_size=30),
    tail=LINES,
    cuts=st.lists(st.integers(0, 600), max_size=40),
    mark=st.booleans(),
)
@example(lines=[(b"data: a", b"\r\n"), (b"", b"\r\n")], tail=b"", cuts=list(range(20)), mark=True)
def test_any_cutting_gives_the_events_of_the_standard(lines, tail, cuts, mark):
    stream = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line, end in lines) + tail
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:stop] for start, stop in pairwise(bounds)]
    assert b"".join(chunks) == stream
    assert decode(*chunks) == reference(stream)
    assert decode(*(stream[index : index + 1] for index in range(len(stream)))) == reference(stream)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=20))
def test_any_cutting_of_any_bytes_gives_the_same_events(stream, cuts):
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert decode(*(stream[a:b] for a, b in pairwise(bounds))) == decode(stream)
