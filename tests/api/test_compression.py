"""Packed replies: whole, cut, spoiled, in several members, and bombs."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from functools import partial

import pytest

from airflow_provider_pipedrive_leads.api.compression import TooLargeError, unpacked

pytestmark = pytest.mark.slow

MIB = 1 << 20
GZIP = partial(gzip.compress, mtime=0)
TEXT = b'{"success": true, "data": []}' * 50


def raw_deflate(data):
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (GZIP(TEXT), "gzip"),
        (GZIP(TEXT), "GZIP"),
        (GZIP(TEXT), "x-gzip"),
        (GZIP(TEXT[:99]) + GZIP(TEXT[99:]), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (zlib.compress(TEXT, 1), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (GZIP(zlib.compress(TEXT)), "deflate, gzip"),
    ],
    ids=["plain", "identity", "gzip", "GZIP", "x-gzip", "members", "zlib", "weak zlib", "bare deflate", "twice"],
)
def test_it_is_unpacked(packed, encoding):
    assert unpacked(packed, encoding, len(TEXT)) == TEXT
    with pytest.raises(TooLargeError):
        unpacked(GZIP(TEXT), "gzip", len(TEXT) - 1)


def test_nothing_stays_nothing():
    assert unpacked(b"", "gzip", 10) == b""


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
@pytest.mark.parametrize(("pack", "encoding"), [(GZIP, "gzip"), (zlib.compress, "deflate")], ids=["gzip", "deflate"])
def test_what_is_cut_is_an_error(pack, encoding, cut):
    with pytest.raises(ValueError, match=r"cut off|spoiled"):
        unpacked(pack(TEXT)[:-cut], encoding, MIB)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_what_was_not_asked_for_is_an_error(encoding):
    with pytest.raises(ValueError, match="not asked for"):
        unpacked(GZIP(TEXT), encoding, MIB)


def test_noise_is_an_error():
    with pytest.raises(ValueError, match="spoiled"):
        unpacked(b"\x00" * 100, "gzip", MIB)


def test_a_bomb_costs_what_is_allowed_and_not_what_it_holds():
    bomb = GZIP(bytes(400 * MIB), 9)
    assert len(bomb) < MIB
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            unpacked(bomb, "gzip", 8 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB
