"""Where the tree and the built programs are, and the message classes that protoc made of the same .proto files."""
import os
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MAILNODE_BUILD", TREE / "build")).resolve()

CONTROLLER = BUILD / "controller/mail-controller"
MAILCTL = BUILD / "controller/mailctl"
REMOTE = BUILD / "controller/mailctl-remote"
AGENT = BUILD / "agent/mail-agent"
ENGINE = BUILD / "mailnode/mail-engine"

GENERATED = BUILD / "generated/python"
if str(GENERATED) not in sys.path:
    sys.path.insert(0, str(GENERATED))
