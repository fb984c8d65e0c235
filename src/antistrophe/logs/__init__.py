"""The log of attempts: what steps log and print, kept with the saga, the step and the attempt that said it.

How it works: the process that makes a call appends what the call says to ``log/steps.log`` of the home, at once and
by itself, one line of JSON for each record. So a process that is killed has left all lines that it had written.

    print, sys.stderr ─► streams ──┐
                                   ├─► attempt_output ─► stored_records ─► step_log ─► log/steps.log, steps.log.1
    ctx.log, logging ─► handler ───┘                                                        │
                                                 get_logs, `antistrophe logs` ◄── reading ◄─┘

- ``step_log`` is the file: many processes append to it, and it never grows beyond its size.
- ``stored_records`` is the form of a line.
- ``attempt_output`` is one attempt: it cuts what is printed into lines, and bounds how much an attempt may say.
- ``speaking`` knows whose words these are, in a process with one attempt at a time and in one with many.
- ``streams`` and ``handler`` take what is printed, and what is logged.
- ``reading`` finds one saga's records again.

Rules: a log never fails a step: whatever goes wrong here costs records and nothing else. Nothing is opened, and nothing
is written, for an attempt that says nothing. What can't be shown on a terminal is escaped before it is written. What
user code may replace or close is bound when a module is imported, and looked at before each write.

Start reading at ``attempt_output``, then ``step_log``.
"""
