"""The command line: one command per file, registered by ``main``.

Read ``main`` first (the typer app, exit codes, errors as one line), then ``options`` (the options that commands share),
then any command: ``demo``, ``index``, ``ask``, ``extract``, ``card``, ``chat`` (with ``slash``, the commands typed in a
conversation), ``personas``, ``sessions``, ``serve``, ``doctor``.

A command imports what it needs inside its function, so that ``egosrag --help`` loads no model library.
"""
