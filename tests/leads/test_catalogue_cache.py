"""The catalogue is read once for a machine, anew when it is old, and never from a folder that others can write to."""

from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField, Option
from airflow_provider_pipedrive_leads.leads.catalogue_cache import SECONDS_TO_LIVE, CatalogueCache
from tests.until import until

CATALOGUE = Catalogue((CustomField(1, "a" * 40, "Company size", "enum", (Option("1", "1-10"),)),), {"l1": "Hot"})


class Account:
    """Counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def read(self):
        self.asked += 1
        return CATALOGUE


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


def test_it_is_read_once_and_comes_back_the_same(folder):
    account = Account()
    for _ in range(3):
        assert CatalogueCache("acme", folder=folder).get(account.read) == CATALOGUE
    assert account.asked == 1


def test_tasks_that_start_together_read_it_once(folder):
    account, come = Account(), []

    def read():
        until(lambda: len(come) == 16)
        with (folder / "catalogue-acme.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who comes now has to wait
        return account.read()

    def task(number):
        come.append(number)
        return CatalogueCache("acme", folder=folder).get(read)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(task, range(16))) == [CATALOGUE] * 16
    assert account.asked == 1


def test_an_old_one_is_read_anew(folder):
    account, now = Account(), [1000.0]
    cache = CatalogueCache("acme", folder=folder, clock=lambda: now[0])
    cache.get(account.read)
    now[0] += SECONDS_TO_LIVE - 1
    cache.get(account.read)
    assert account.asked == 1
    cache.get(account.read, younger_than=30)
    assert account.asked == 2
    now[0] -= 5000  # a clock set back must not keep it for ever
    cache.get(account.read)
    assert account.asked == 3


def test_accounts_do_not_mix(folder):
    account = Account()
    CatalogueCache("acme", folder=folder).get(account.read)
    CatalogueCache("other", folder=folder).get(account.read)
    assert account.asked == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"read_at": 1}', b"\xff\xfe"])
def test_a_broken_file_is_replaced(folder, content):
    account = Account()
    cache = CatalogueCache("acme", folder=folder)
    cache.get(account.read)
    (folder / "catalogue-acme.json").write_bytes(content)
    assert cache.get(account.read) == CATALOGUE
    assert account.asked == 2


def test_a_folder_that_others_can_use_is_not_used(folder):
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    account = Account()
    for _ in range(2):
        CatalogueCache("acme", folder=folder).get(account.read)
    assert account.asked == 2
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("in the way")
    account = Account()
    assert CatalogueCache("acme", folder=tmp_path / "file" / "kept").get(account.read) == CATALOGUE
