"""What people read of sagas: the story of one in sentences, times and sizes in words, and pictures to scale.

How it works: everything here is pure. It takes journal entries and records, and returns texts. Who shows them prints
them: the command line on a terminal, the dashboard on a page. Neither is known here.

- `entry_sentences` turns the entries of a saga into sentences; `explanation` says what they mean, what is owed, and
  what to do.
- `timeline` arranges the attempts of a saga in rows, and `timeline_picture` draws them to scale, as SVG.
- `json_values` has values as JSON can hold them.
- `times` tells moments and durations, `phrases` sizes, numbers of times, and words that a shell takes.

Rules: a text from outside passes through ``serialization.printable`` before it stands in a sentence. Whoever shows a
text makes it safe for its own medium once more.

Start reading at `explanation`.
"""
