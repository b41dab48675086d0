"""`python -m ponder`: the command `ponder` where modules are started and not scripts (torchrun)."""

from ponder.cli.app import app

app(prog_name="ponder")
