"""Without the SDK, which is in the extra mcp, these tests are left out."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("mcp") else ["test_*.py"]
