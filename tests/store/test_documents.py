from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store.documents import encode, read_document, seal, unseal, write_document
from orchestrator.store.files import FileTree

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(plain_values)
def test_a_sealed_body_comes_back_exactly(body: object) -> None:
    assert unseal(seal(body)) == body


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_changed_byte_of_a_sealed_file_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(seal({"metric": 61.25, "name": "trial"}))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        unseal(bytes(sealed))


@pytest.mark.parametrize("kept", [0, 1, 40, 90, 100])
def test_a_sealed_file_cut_short_is_noticed(kept: int) -> None:
    with pytest.raises(ValueError):
        unseal(seal({"metric": 61.25, "name": "trial"})[:kept])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan")])
def test_a_number_that_is_none_is_refused_by_name(bad: float) -> None:
    with pytest.raises(ValueError, match=r"^history\[1\]\.val_loss: (nan|inf): only finite numbers"):
        encode({"history": [{"val_loss": 1.0}, {"val_loss": bad}]})


def test_numpy_numbers_are_kept_exactly() -> None:
    body = {"a": np.float32(0.1), "b": np.int64(3), "c": np.bool_(True), "d": np.float64(0.1)}
    assert unseal(seal(body)) == {"a": float(np.float32(0.1)), "b": 3, "c": True, "d": 0.1}


def test_a_torn_document_is_set_aside_with_a_warning(tree: FileTree, caplog: pytest.LogCaptureFixture) -> None:
    assert read_document(tree, "a/x.json") is None
    write_document(tree, "a/x.json", {"a": "ü"})
    assert read_document(tree, "a/x.json") == {"a": "ü"}
    tree.write_bytes("a/x.json", b'{"a": ')
    with caplog.at_level(logging.WARNING):
        assert read_document(tree, "a/x.json") is None
    assert tree.where("a/x.json") in caplog.text
    assert tree.names("a") == ["x.json.torn"]
