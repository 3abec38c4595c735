"""The exceptions of EGOS-RAG.

The tree::

    EgosRagError              base of all; the CLI prints it as one line and exits 1
    ├── SettingsError         a setting is unknown, malformed or contradicts another
    ├── PromptError           a prompt file is missing, or one of its variables has no value
    ├── ModelError            a model cannot be found, loaded, reached or understood
    │   ├── WindowError       the prompt does not fit the model's context window
    │   └── ScriptExhausted   the scripted model was called more often than its script has replies
    ├── SourceError           a document or role source cannot be read (missing, empty, encrypted, binary, ...)
    ├── RoleError             a role file is not a role card
    ├── StoreError            a document index is missing, damaged, or was built with other settings
    ├── SessionError          a session store cannot be opened, or an input is not a turn
    │   ├── SessionBusy       another process is answering in the session
    │   └── StoreUnavailable  the session store does not answer for now, or is full
    └── TrainingError         training data, a checkpoint or the machine does not fit the requested run

A message is one line, displayed as it is: what is wrong, where, and what to do about it.
"""


class EgosRagError(Exception):
    """Base of all errors below; catch it to catch them all."""


class SettingsError(EgosRagError):
    """A setting is unknown, malformed or contradicts another."""


class PromptError(EgosRagError):
    """A prompt file is missing, or one of its variables has no value."""


class ModelError(EgosRagError):
    """A model cannot be found, loaded, reached or understood."""


class WindowError(ModelError):
    """The prompt does not fit the model's context window."""


class ScriptExhausted(ModelError):
    """The scripted model was called more often than its script has replies."""


class SourceError(EgosRagError):
    """A document or a role source cannot be read."""


class RoleError(EgosRagError):
    """A role file is not a role card."""


class StoreError(EgosRagError):
    """A document index is missing, damaged, or was built with other settings."""


class SessionError(EgosRagError):
    """A session store cannot be opened, or an input (a line, a command, an imported file) is not a turn."""


class SessionBusy(SessionError):
    """Another process is answering in the session; retry a moment later."""


class StoreUnavailable(SessionError):
    """A session store does not answer for now, or is full; the replies so far are stored."""


class TrainingError(EgosRagError):
    """Training data, a checkpoint or the machine does not fit the requested run."""
