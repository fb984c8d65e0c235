"""Step processes: the only processes in which user code runs.

The supervisor forks two kinds of them::

    step process        StepActor        one attempt at a time, in the main thread     `step`, `call`
    async worker        AsyncStepActor   many attempts of ``async def`` steps at once  `async_step`, `event_loop`

Both do the same things in the same order. They make a process group of their own and mark what they will start
(`user_process`). They import the user's code when the supervisor asks for it. Then, for each ``RunStep`` message:

1. build the step from its packed input, and its context (`step_context`);
2. write "the call begins" to the attempt file of the lease (`attempt_file`);
3. call ``execute``, ``compensate`` or ``verify`` (`call`);
4. write the outcome to the attempt file, and send it as a ``StepAnswer``.

Rules:

- A step process may die at any instruction. What it wrote to its attempt file before tells the saga actor whether the
  call began and how it ended; the file is written with single writes and never synced, so it counts within one boot.
- The same attempt asked for twice runs once: the second question gets the first answer.
- A call is over when nothing of it is left (`leftovers`). Where it has left a thread or a process, the supervisor ends
  the step process with all of it, and the saga reads the outcome from the attempt file. In an async worker
  `call_origin` notes which call has started a thread or a process, and the other calls come to their end first.
- A call finds its process as the imports have left it (`fingerprint`): what the last one has changed was put back, or
  its process is ended. `interpreter_state` knows what there is of that in the interpreter. Looks, which most often see
  nothing, are functions in C: a step process runs with cold caches, where each function in Python takes 2 µs more.
- User code may close any descriptor. What is written after a call goes to one that is checked then.
- A process that is told to end (SIGTERM) ends. It sends no answer any more: its attempt file has what is known.
- Before a hung process is killed it writes where its threads and tasks stand (`stack_dumps`). A call that blocks the
  event loop of an async worker is found by `loop_watchdog`.

Start with `step`, then `call`; `async_step` is the same with slots.
"""
