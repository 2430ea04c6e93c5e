"""The kept catalogue is a convenience: nothing fails, hangs or becomes wrong because it cannot be kept."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
import threading

import pytest

from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.leads.catalogue_cache import LOCK_TIMEOUT, CatalogueCache

CATALOGUE = Catalogue((CustomField(1, "a" * 40, "Company size", "varchar", ()),), {"l1": "Hot"})
OTHER = Catalogue((), {"l2": "Cold"})


class Sleeps:
    """Counts seconds instead of letting them pass."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self, seconds):
        self.seconds += seconds


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


def in_the_way(folder, suffix):
    """Let opening or replacing a file fail, for root too: a folder has its name."""
    CatalogueCache("acme", folder=folder).get(lambda: OTHER, younger_than=0)
    for place in folder.iterdir():
        place.unlink()
    (folder / f"catalogue-acme{suffix}" / "full").mkdir(parents=True)


@pytest.mark.parametrize("suffix", [".lock", ".json", ".generation"])
def test_a_file_that_cannot_be_written_costs_no_more_than_a_reading(folder, suffix):
    in_the_way(folder, suffix)
    cache = CatalogueCache("acme", folder=folder)
    for _ in range(2):
        assert cache.get(lambda: CATALOGUE) == CATALOGUE
        cache.forget()
    assert not list(folder.glob("*.part"))


WITHOUT_SPACE = """
import resource, sys
from pathlib import Path
from airflow_provider_pipedrive_leads.api.fields import Catalogue
from airflow_provider_pipedrive_leads.leads.catalogue_cache import CatalogueCache
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
cache = CatalogueCache("acme", folder=Path(sys.argv[1]))
asked = []
for _ in range(2):
    cache.get(lambda: asked.append(1) or Catalogue((), {}))
    cache.forget()
print(len(asked), [place.name for place in Path(sys.argv[1]).glob("*.part")], flush=True)
"""


def test_a_full_disk_does_no_harm(folder):
    """No byte can be written: as on a disk without space."""
    CatalogueCache("acme", folder=folder).get(lambda: CATALOGUE)
    command = [sys.executable, "-c", WITHOUT_SPACE, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("1 []\n", 0), found.stderr


def test_a_machine_without_a_temporary_folder_does_no_harm(sandbox, monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(sandbox.connection))
    hook = PipedriveLeadsHook("crm")
    assert hook.catalogue().labels
    made = hook.add_lead_label("Without a folder", "green")
    assert hook.wire_fields({"label_ids": ["Without a folder"]}) == {"label_ids": [made["id"]]}
    hook.close()


def test_a_folder_that_goes_meanwhile_does_no_harm(folder):
    def read():
        for place in folder.iterdir():
            place.unlink()
        folder.rmdir()
        return CATALOGUE

    assert CatalogueCache("acme", folder=folder).get(read) == CATALOGUE


def test_who_reads_slowly_holds_up_others_for_seconds_and_no_longer(folder):
    """The reader is held here until the end of the test; the time that the others wait is counted, not passed."""
    begun, go_on = threading.Event(), threading.Event()

    def read_slowly():
        begun.set()
        go_on.wait()
        return OTHER

    slow = threading.Thread(target=CatalogueCache("acme", folder=folder).get, args=(read_slowly,))
    slow.start()
    begun.wait()
    try:
        for _ in range(3):
            sleeps = Sleeps()
            found = CatalogueCache("acme", folder=folder, sleep=sleeps).get(lambda: CATALOGUE, younger_than=-1)
            assert found == CATALOGUE
            assert sleeps.seconds == pytest.approx(LOCK_TIMEOUT)
        sleeps = Sleeps()
        assert CatalogueCache("acme", folder=folder, sleep=sleeps).get(lambda: OTHER) == CATALOGUE
        CatalogueCache("acme", folder=folder, sleep=sleeps).forget()
        assert sleeps.seconds == 0
    finally:
        go_on.set()
        slow.join()


def test_what_was_read_before_a_change_is_not_kept_after_it(folder):
    """The slow reader's catalogue is older than the change of which another task has told."""
    cache = CatalogueCache("acme", folder=folder)

    def read():
        CatalogueCache("acme", folder=folder).forget()
        return OTHER

    assert cache.get(read) == OTHER
    assert cache.get(lambda: CATALOGUE) == CATALOGUE
    assert cache.get(lambda: OTHER) == CATALOGUE


def test_what_an_earlier_version_kept_is_read(folder):
    cache = CatalogueCache("acme", folder=folder, clock=lambda: 1_000.0)
    cache.get(lambda: CATALOGUE)
    (file,) = folder.glob("*.json")
    kept = json.loads(file.read_text())
    del kept["generation"]
    file.write_text(json.dumps(kept))
    assert cache.get(lambda: OTHER) == CATALOGUE


def test_a_lock_ends_with_the_reading(folder):
    def fails():
        raise ValueError("no")

    cache = CatalogueCache("acme", folder=folder)
    with pytest.raises(ValueError, match="no"):
        cache.get(fails)
    with (folder / "catalogue-acme.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
