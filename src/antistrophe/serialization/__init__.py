"""Typed values to bytes and back, exactly or not at all; nothing is pickled.

How it works: an object becomes a dict of self-describing values along the type hints of its class, and the dict becomes
msgpack.

    object ─► converter (cattrs) ─► dict of values ─► msgpack_values ─► bytes
                 │
                 ├─ type_hints: what one value lets through (scalars, Enums, Literals, paths)
                 ├─ containers: what holds other values (collections, tuples, classes, unions)
                 └─ models: pydantic models, without an import of pydantic

- ``payload`` is what other packages call: it packs and unpacks, and its errors name the field and say what to do.
- ``whole_numbers`` checks the limits, positions and versions that callers give.
- ``printable`` shows text from anywhere without what could control a terminal; ``log_lines`` makes log lines of it.
- ``struct_dataclass`` makes the runtime's own records, and ``antistrophe.fast_dataclass`` those that users hold.
  ``fast_records`` copies and makes both faster than ``dataclasses.replace`` and ``__init__`` do.

Rules: a value travels only as the type that its field declares; nothing is coerced. What is written is read again at
once and compared. A reader raises UnreadableDataError on data that it can't read, and no other error; it runs no code
but the ``__init__``, or a model's validation, of the class that its caller names. The codes of the extension types are
a file format: they never change their meaning.

Start reading at ``payload``, then ``converter``.
"""
