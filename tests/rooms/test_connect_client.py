"""Kafka Connect's client is opened every three seconds by each leader: it must not read the system's
authorities each time.
"""

import time

import pytest
from hlf_sync import clients
from hlf_sync.config.settings import Settings

pytestmark = pytest.mark.requirement("R81")


@pytest.mark.parametrize("url", ["http://connect.example.org:8083", "https://connect.example.org"])
def test_a_client_of_connect_is_opened_without_reading_the_authorities_again(url: str) -> None:
    """Measured 20 ms of CPU each before: 0.7 % of a core in each idle leader, one percent with what
    else asks Connect.
    """
    settings = Settings.model_validate({"connect_url": url})
    with clients.connect_rest(settings, timeout_s=5):
        pass
    began_s = time.thread_time()
    for _ in range(20):
        with clients.connect_rest(settings, timeout_s=5):
            pass
    assert (time.thread_time() - began_s) / 20 < 0.008


def test_clients_of_one_address_share_their_trust() -> None:
    """Connect's among themselves, not with the registry's; it follows its files by itself
    (test_clients).
    """
    settings = Settings.model_validate({"connect_url": "https://connect.example.org"})
    first, second = clients.connect_login(settings), clients.connect_login(settings)
    assert first["tls"] is not None
    assert first["tls"] is second["tls"]
