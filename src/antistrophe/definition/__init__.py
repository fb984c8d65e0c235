"""What users define: steps, sagas and events, and the checks that find a mistake before anything runs.

A definition travels without any of the user's objects. In the application::

    Debit("A", 100)  --add_step-->  StepSpec(name, class_ref, input, policies)  --spec-->  SagaSpec(steps, origin)

``class_ref`` is ``module:qualified.name``, ``input`` the step's fields as msgpack, and the origin says where the
application found its code. The journal stores the SagaSpec. In a step process::

    load_step_class(origin, class_ref)  ->  build_step(class, input)  ->  call_step(step, "execute", context)

Rules:

- A definition is checked when it is made. ``add_step`` raises InvalidStepError, which names the step, what is wrong
  and what to do.
- The application packs the input of a step in ``add_step``; a change of the object after that changes nothing.
- Every default is filled in when the spec is made, so a saga keeps its policies over an upgrade.
- User code is imported only in the application and in step processes. The supervisor, the saga actors and the journal
  see specs alone.

Files: `step` is the base class and the decorator; `options` is where a step class keeps its options; `computed` packs
what a step computes, `computed_of_events` what an event does; `context` is what a step gets and returns; `result` reads
what a call returned to its end; `spec` is what travels; `step_options` turns a step into a spec; `saga_definition`
collects steps; `validation` checks names and numbers, for definitions and for specs that arrive in a message; `events`
registers and packs events; `outputs` packs the output of a step; `code_loading` names a class in
the application and loads it in a step process, where `calling` makes a step of it and calls its methods. Start with
`spec`, then `step` and `saga_definition`.
"""
