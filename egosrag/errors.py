"""Every error that EGOS-RAG raises on purpose.

The tree::

    EgosRagError             anything below; the CLI prints it as one line and exits 1
    ├── SettingsError        a setting is unknown, malformed or contradicts another
    ├── PromptError          a prompt file is missing, or a variable of it was not given
    ├── ModelError           a model cannot be found, loaded, reached or understood
    │   ├── WindowError      the prompt does not fit the model's context window
    │   └── ScriptExhausted  the scripted model was called more often than its script has replies
    ├── SourceError          a document or role source cannot be read (missing, empty, encrypted, binary, ...)
    ├── RoleError            a role file is not a role card
    ├── StoreError           a document index is missing, damaged, or was built by other settings
    ├── SessionError         a session's store cannot be opened, or the line is not a turn
    │   ├── SessionBusy      somebody else is answering in the session
    │   └── StoreUnavailable        the session's store does not answer for now, or is full
    └── TrainingError        training data, a checkpoint or the machine does not fit the run that was asked for

A message says what is wrong, where, and what to do about it, in one line: it is shown as it is.
"""


class EgosRagError(Exception):
    """Base of every error raised on purpose; catch this to catch them all."""


class SettingsError(EgosRagError):
    """A setting is unknown, malformed or contradicts another."""


class PromptError(EgosRagError):
    """A prompt file is missing, or variables of it were not given."""


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
    """A document index is missing, damaged, or was built by other settings."""


class SessionError(EgosRagError):
    """A session's store cannot be opened, or a line given to it is not a turn."""


class SessionBusy(SessionError):
    """Somebody else is answering in the session: what is asked again a moment later may succeed."""


class StoreUnavailable(SessionError):
    """A session's store does not answer for now, or is full; what was answered before is kept."""


class TrainingError(EgosRagError):
    """Training data, a checkpoint or the machine does not fit the run that was asked for."""
