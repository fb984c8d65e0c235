"""The membership actor: keeps this host among those that share a journal on PostgreSQL.

It is a process of its own, so that a database that does not answer keeps nobody else waiting. It renews the lease,
looks at those of the others, claims sagas, settles permits, and hands on what concerns sagas of other hosts. What
follows from the lease is up to the supervisor (``actors/supervisor/own_lease.py``).

Start reading in ``membership``; ``elsewhere`` is how the hosts tell each other of orders and ends, by rows alone;
``settling`` answers what the supervisor asks about limits.
"""
