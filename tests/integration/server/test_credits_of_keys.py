"""What lowers what is counted is an admin's to ask for, whatever an `ingest` key sends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.contract.authority.making import Holder, settlement, sums
from tests.contract.ledger.making import account, event, new_id
from tests.serving import RunningServer, running_server
from tollspan.budget import LeaseLostError, Settlement, SettlementsRefusedError
from tollspan.exporter import HttpAuthority, SettlingBooks
from tollspan.ledger import POSTING_REFUSED, LedgerReader, SQLiteLedger
from tollspan.ledger.central import Scope
from tollspan.usage import Adjustment

ORG = account("org", limit=100)
_names = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}") as made:
        yield made


class Clients:
    """A new tenant's authority, as hosts and as operators ask it."""

    def __init__(self, server: RunningServer) -> None:
        self.tenant = f"tenant-{next(_names)}"
        self.host = self._client(server, "ingest")
        self.operator = self._client(server, "ingest", "admin")

    def _client(self, server: RunningServer, *scopes: str) -> HttpAuthority:
        key = server.make_key(self.tenant, *msgspec.convert(scopes, tuple[Scope, ...]))
        return HttpAuthority(server.url, key=key, timeout_seconds=10)

    def close(self) -> None:
        self.host.close()
        self.operator.close()


@pytest.fixture
def clients(server: RunningServer) -> Iterator[Clients]:
    with closing(Clients(server)) as made:
        made.host.settle([settlement(None, (ORG, 90, 0))])
        yield made


def credit(amount: int = -50, name: str = "raise-1") -> Settlement:
    return settlement(None, (ORG, amount, 0), call_id=name)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(settlement(None, (ORG, -50, 0)), id="posted"),
        pytest.param(settlement(None, (ORG, 0, -50)), id="unresolved"),
        pytest.param(settlement(None, (ORG, 50, -100)), id="one of both"),
        pytest.param(settlement(None, (account("b"), 1, 0), (ORG, -1, 0)), id="one of two charges"),
    ],
)
def test_a_host_lowers_nothing_and_the_rest_of_its_queue_is_settled(
    clients: Clients, server: RunningServer, said: Settlement
) -> None:
    before, after = (settlement(None, (ORG, 1, 0)) for _ in range(2))
    with pytest.raises(SettlementsRefusedError, match="admin") as caught:
        clients.host.settle([before, said, after])
    assert caught.value.refused == (said.call_id,)
    assert sums(clients.host, ORG) == (92, 0, 0)
    assert server.ledger.audit.entries(clients.tenant, action="authority.credited") == []


def test_an_admin_lowers_it_once_and_that_is_noted(clients: Clients, server: RunningServer) -> None:
    for _ in range(2):
        clients.operator.settle([credit(), settlement(None, (ORG, 2, 0), call_id="call-of-admin")])
    assert sums(clients.host, ORG) == (42, 0, 0)
    (noted,) = server.ledger.audit.entries(clients.tenant, action="authority.credited")
    assert (noted.subject, noted.details["count"]) == ("raise-1", 1)


def test_what_a_host_tells_again_of_an_admins_is_no_news(clients: Clients) -> None:
    clients.operator.settle([credit()])
    clients.host.settle([credit()])
    assert sums(clients.host, ORG) == (40, 0, 0)


def test_a_host_may_not_tell_more_of_it_than_the_admin_did(clients: Clients) -> None:
    clients.operator.settle([credit()])
    for other in (credit(-51), credit(name="raise-2")):
        with pytest.raises(SettlementsRefusedError):
            clients.host.settle([other])
    assert sums(clients.host, ORG) == (40, 0, 0)


def test_what_was_refused_is_an_admins_to_tell_later(clients: Clients) -> None:
    with pytest.raises(SettlementsRefusedError):
        clients.host.settle([credit()])
    clients.operator.settle([credit()])
    assert sums(clients.host, ORG) == (40, 0, 0)


def test_a_lease_gives_nothing_back_that_it_has_not(clients: Clients) -> None:
    holder = Holder(clients.host)
    holder.has(ORG, 10)
    clients.host.settle([settlement(holder.lease.id, (ORG, 4, 0), drawn=10**18)])
    assert sums(clients.host, ORG) == (94, 0, 0)
    holder.gives(ORG, 10, is_last=True, known=0)
    with pytest.raises(LeaseLostError):  # nobody heard of so much: it is shut, and counts on
        holder.gives(ORG, 10**18, known=10**18, part=2)
    clients.host.settle([settlement(holder.lease.id, (ORG, 0, 0), drawn=10**18)])
    assert sums(clients.host, ORG) == (94, 0, 0)


def test_what_has_very_many_charges_is_settled_whole_and_once(clients: Clients) -> None:
    many = [account(f"budget-{number}", limit=100) for number in range(700)]
    said = settlement(None, *((one, 1, 0) for one in many))
    for _ in range(2):
        clients.host.settle([said, settlement(None, (ORG, 1, 0), call_id="beside")])
    assert [one.posted for one in clients.host.balances([ORG, *many])] == [91] + [1] * 700


def raised(amount: int) -> Adjustment:
    named = msgspec.structs.replace(settlement(None, (ORG, amount, 0)).charges[0], unresolved=0)
    at = event(new_id()).call.started_at_unix_ns
    return Adjustment(
        id=new_id(), at_unix_ns=at, action="raise", author="ann@host", reason="x", charges=(named,)
    )  # fmt: skip


def test_a_host_that_has_such_a_posting_settles_what_comes_after_it(
    clients: Clients, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = SQLiteLedger(tmp_path)
    now = event(new_id()).call.started_at_unix_ns

    def books(client: HttpAuthority) -> SettlingBooks:
        return SettlingBooks(ledger, client, name="it", clock=lambda: now)

    posting = raised(-50)
    ledger.adjust(posting)
    ledger.post(event(new_id(), settlement(None, (ORG, 3, 0)).charges[0]), None)
    host = books(clients.host)
    assert host.settle() == 2
    assert host.refused == (posting.id,)
    assert sums(clients.host, ORG) == (93, 0, 0)
    assert "authority fill" in caplog.text
    assert (host.settle(), host.waiting()) == (0, 0)
    ledger.note_settled("it", 0, ledger.inode())
    later = books(clients.operator)
    later.settle(with_totals=True)
    assert later.refused == ()
    assert sums(clients.host, ORG) == (43, 0, 0)
    ledger.close()
    seen = {one.kind: one.count for one in LedgerReader(ledger.path).sightings()}
    assert seen[POSTING_REFUSED] == 1


def test_an_operators_posting_is_told_by_his_key_though_a_program_settles_all_the_time(
    clients: Clients, tmp_path: Path
) -> None:
    ledger, other = SQLiteLedger(tmp_path), SQLiteLedger(tmp_path)
    program = SettlingBooks(other, clients.host, name="it")
    program.post(event(new_id(), settlement(None, (ORG, 3, 0)).charges[0]), None)  # starts it
    books = SettlingBooks(ledger, clients.operator, name="it")
    for _ in range(5):
        books.adjust(raised(-10))
        assert books.refused == ()
    program.close(5)
    assert program.refused == ()
    assert sums(clients.host, ORG)[0] in (40, 43)  # the call's clock may be past what is told
    ledger.close()
    other.close()
