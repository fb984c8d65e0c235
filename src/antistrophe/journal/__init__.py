"""The journal: the append-only record of every saga, and the only truth about it.

A saga is a list of entries, from ``SagaAccepted`` on. One append adds entries to a saga, their events to the event
store and a row to the list of sagas, in one transaction that is synced. The entries, read in order, are the saga.

The rules:

- Entries are never changed, but where the data of a finished saga are erased. Each has a ``position`` over all sagas
  and a ``seq`` within its saga. They go only where their saga is purged, whole and after its end; no position is given
  twice, and a purged id stays known.
- An append names the seq that it expects. If somebody else has gone on with the saga, the append fails and nothing is
  written: two actors can't both write the next entry.
- The row of a saga (its status, error and reason to wait) is a projection of its entries, for lists and counts. It is
  written in the same transaction and can't disagree with them. It changes where one of these does.
- What monitoring shows of a saga is the fold of its entries. With those of a long saga it is kept, too, whole now and
  then, and else what has changed.
- What many definitions have in common, their shape, is stored once, by the hash of its bytes. Whoever reads an
  acceptance gets it whole.
- Where several hosts share a journal, each saga has one owner, and an append is conditional on that.
- What can't be read is a JournalError that names the file and the entry.

Each file answers one question: ``journal`` what a journal does and ``stored_journal`` what its tools do with it,
``place`` where it is, ``place_note`` how a home remembers that, ``opening`` how it is opened there, ``sqlite`` how it
works in the home's file, ``postgres`` how it does in PostgreSQL, with ``postgres_append``, ``postgres_acceptance`` (in
a transaction of the application), ``saga_owner``, who may write there, and ``last_entry``, what an append goes on from;
``journal_questions`` what both answer alike, ``dialect`` the words in which their SQL differs, ``group`` how appends
share a transaction, ``rows`` and ``short_entries`` how entries and states are packed, ``shapes`` how definitions are
stored once, ``packed_append`` what one append writes, ``stored_entries`` and ``stored_states`` how all of it is read,
``ordinary_course`` how most sagas are shown without a fold, ``typed_values`` what is checked there, ``saga_counts`` how
sagas are counted, ``timeline`` how people see them, ``saga_lists`` and ``paging`` how a list comes in pages,
``text_index`` how texts are found, ``texts`` where there may be no such index, ``moments`` where in the journal a
moment is, ``retention`` how finished sagas are purged, ``last_rows`` what a purge has to leave, ``tombstones`` what
stays of them, ``unused_shapes`` which shapes go, ``erasing`` how the data of one are erased, ``growth`` what the file
takes, and ``statistics_follower`` how statistics of it are kept by others than the system. Start reading in
``journal``. ``actors/saga/journal_access.py`` is how the actors use it.
"""

from __future__ import annotations

from antistrophe.journal.group import Group, GroupCommit
from antistrophe.journal.journal import EarlierTryError, Journal, JournalRecord, SagaEvent, SagaPage, SeqConflictError
from antistrophe.journal.opening import journal_in, leave_tidy, open_file, open_journal, open_store
from antistrophe.journal.place import FILE_NAME, JournalPlace, Where, journal_path
from antistrophe.journal.place_note import note, refuse_elsewhere
from antistrophe.journal.retention import Purge, Purgeable
from antistrophe.journal.sqlite import SqliteJournal
from antistrophe.journal.stored_entries import RESULTS
from antistrophe.journal.stored_journal import StoredJournal

__all__ = [
    "FILE_NAME",
    "RESULTS",
    "EarlierTryError",
    "Group",
    "GroupCommit",
    "Journal",
    "JournalPlace",
    "JournalRecord",
    "Purge",
    "Purgeable",
    "SagaEvent",
    "SagaPage",
    "SeqConflictError",
    "SqliteJournal",
    "StoredJournal",
    "Where",
    "journal_in",
    "journal_path",
    "leave_tidy",
    "note",
    "open_file",
    "open_journal",
    "open_store",
    "refuse_elsewhere",
]
